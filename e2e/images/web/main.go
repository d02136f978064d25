// Web is the lab's workload: a server that tells who answered.
//
//	GET /          a sentence that names the pod and the node
//	GET /hostname  the pod's name
//	GET /node      the node's name
//	GET /client    the address that the request came from, as the pod sees it
//
// It answers UDP datagrams on the same port with the pod's name. The environment names what the pod's template hands
// down: POD_NAME, NODE_NAME, and PORT (8080 if unset).
package main

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	hostname, _ := os.Hostname()
	pod := cmp.Or(os.Getenv("POD_NAME"), hostname)
	node := os.Getenv("NODE_NAME")
	address := ":" + cmp.Or(os.Getenv("PORT"), "8080")

	go endOnSignal()
	go func() { log.Fatal(answerDatagrams(address, pod)) }()
	log.Fatal(http.ListenAndServe(address, handler(pod, node)))
}

// endOnSignal is needed because the kernel drops signals that a container's first process does not handle.
func endOnSignal() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	os.Exit(0)
}

func handler(pod, node string) http.Handler {
	mux := http.NewServeMux()
	say := func(path string, answer func(*http.Request) string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, answer(r)) })
	}
	say("/", func(*http.Request) string { return fmt.Sprintf("hello from pod %s on %s", pod, node) })
	say("/hostname", func(*http.Request) string { return pod })
	say("/node", func(*http.Request) string { return node })
	say("/client", func(r *http.Request) string { return r.RemoteAddr })
	return mux
}

func answerDatagrams(address, pod string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	for {
		_, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue
		}
		if _, err := conn.WriteTo([]byte(pod+"\n"), from); err != nil {
			log.Printf("answer %s: %v", from, err)
		}
	}
}
