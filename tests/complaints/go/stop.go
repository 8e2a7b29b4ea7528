// A server whose shutdown goes wrong in the way its argument names. The stop request is its own.
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

type pool struct{ size int }

func (p *pool) close() { p.size = 0 }

func handler(http.ResponseWriter, *http.Request) {
	var closed *pool
	closed.close()
}

func main() {
	how := os.Args[1]
	stop := make(chan os.Signal, 1)
	if how != "quit" && how != "deadlock" { // a handler takes SIGQUIT; and while a signal may come, nothing is a deadlock
		signal.Notify(stop, syscall.SIGTERM)
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-stop
		signal.Reset()
	}
	fmt.Println("stopping")
	switch how {
	case "panic":
		var missing *pool
		missing.close()
	case "handler":
		server := httptest.NewServer(http.HandlerFunc(handler))
		http.Get(server.URL)
		server.Close()
	case "deadlock":
		var workers sync.WaitGroup
		workers.Add(1)
		workers.Wait()
	case "quit":
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		select {}
	}
}
