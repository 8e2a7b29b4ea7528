"""A started server, as a scenario sees it. `stage` starts it and holds what it needs; `server` is its life, `http` the
requests made to it, `ending` what is seen of its end; below them `probes`, `wire` and `ports`."""
