package testenv

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// ServeTCP calls f for each connection to a free port of 127.0.0.1, in a goroutine
// of its own, until the test ends. It returns the address. The connection is closed
// when f returns.
func ServeTCP(t testing.TB, f func(c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	return ln.Addr().String()
}

// ServeSDP is an RTSP server that answers DESCRIBE with a status line's end, as
// "200 OK", and an SDP. It answers every other request with 200 and no headers, so
// that no client gets further. It returns the address.
func ServeSDP(t testing.TB, status, sdp string) string {
	t.Helper()
	return ServeTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		method, cseq := "", ""
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			switch {
			case method == "":
				method, _, _ = strings.Cut(line, " ")
			case strings.HasPrefix(line, "CSeq:"):
				cseq = line
			case line == "\r\n":
				if method == "DESCRIBE" {
					fmt.Fprintf(c, "RTSP/1.0 %s\r\n%sContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", status, cseq, len(sdp), sdp)
				} else {
					fmt.Fprintf(c, "RTSP/1.0 200 OK\r\n%sPublic: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n", cseq)
				}
				method = ""
			}
		}
	})
}
