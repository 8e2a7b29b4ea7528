"""A KServe model server: `python kserve_model.py --http_port PORT --workers N`; the options are KServe's own.

Written to the API that KServe 0.13.1 and all later versions share. One model, `sleeper`: it sleeps as long as
the request's parameters say, then echoes the instances:

    POST /v1/models/sleeper:predict  {"instances": [1], "parameters": {"seconds": 1.5}}
"""

import argparse
import asyncio

import kserve
from kserve import model_server


class Sleeper(kserve.Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        await asyncio.sleep(float(payload.get("parameters", {}).get("seconds", 0)))
        return {"predictions": payload["instances"]}


if __name__ == "__main__":
    options = argparse.ArgumentParser(parents=[model_server.parser]).parse_args()
    server = kserve.ModelServer(http_port=options.http_port, workers=options.workers, enable_grpc=False)
    server.start([Sleeper("sleeper")])
