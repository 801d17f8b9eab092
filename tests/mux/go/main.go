// Muxpeer is hashicorp/yamux at the other end of a unix socket. The first byte of each stream that
// it accepts says what to do with the rest; see serve.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/rand"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// What reading a stream of operation 'r' ended with.
var ended = make(chan string, 16)

func main() {
	socket := flag.String("socket", "", "unix socket to dial")
	role := flag.String("role", "server", "client or server of yamux")
	window := flag.Uint("window", 256<<10, "largest window of a stream, in bytes")
	patience := flag.Duration("close-timeout", 5*time.Minute, "a half-closed stream is reset after this")
	flag.Parse()
	conn, err := net.Dial("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	config := yamux.DefaultConfig()
	config.MaxStreamWindowSize = uint32(*window)
	config.StreamCloseTimeout = *patience
	// The peer ends it, and that is no failure.
	config.LogOutput = io.Discard
	begin := yamux.Server
	if *role == "client" {
		begin = yamux.Client
	}
	session, err := begin(conn, config)
	if err != nil {
		log.Fatal(err)
	}
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return
		}
		go func() {
			if err := serve(session, stream); err != nil {
				log.Printf("stream %d: %v", stream.StreamID(), err)
			}
		}()
	}
}

func serve(session *yamux.Session, stream *yamux.Stream) error {
	defer stream.Close()
	var operation [1]byte
	if _, err := io.ReadFull(stream, operation[:]); err != nil {
		return err
	}
	switch operation[0] {
	case 'e': // echo
		_, err := io.Copy(stream, stream)
		return err
	case 'k': // sink: the checksum and length of what came
		sum := crc32.NewIEEE()
		length, err := io.Copy(sum, stream)
		if err != nil {
			return err
		}
		return binary.Write(stream, binary.BigEndian, struct {
			Sum    uint32
			Length uint64
		}{sum.Sum32(), uint64(length)})
	case 's': // source: so many bytes, then their checksum
		var length uint64
		if err := binary.Read(stream, binary.BigEndian, &length); err != nil {
			return err
		}
		sum := crc32.NewIEEE()
		from := io.LimitReader(rand.New(rand.NewSource(int64(length))), int64(length))
		if _, err := io.CopyBuffer(onlyWriter{io.MultiWriter(stream, sum)}, from, make([]byte, 100_003)); err != nil {
			return err
		}
		return binary.Write(stream, binary.BigEndian, sum.Sum32())
	case 'o': // open so many streams, have so many bytes echoed on each: how many were right
		var wanted struct{ Streams, Length uint32 }
		if err := binary.Read(stream, binary.BigEndian, &wanted); err != nil {
			return err
		}
		return binary.Write(stream, binary.BigEndian, openAll(session, wanted.Streams, wanted.Length))
	case 'p': // ping
		if _, err := session.Ping(); err != nil {
			return err
		}
		_, err := stream.Write([]byte{1})
		return err
	case 'g': // go away
		if err := session.GoAway(); err != nil {
			return err
		}
		_, err := stream.Write([]byte{1})
		return err
	case 'r': // say so, and read until that fails
		if _, err := stream.Write([]byte{1}); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, stream)
		ended <- fmt.Sprint(err)
		return nil
	case 'q': // what 'r' ended with
		_, err := io.WriteString(stream, <-ended)
		return err
	case 'c': // close at once; the peer does not, and is reset when patience ends
		return nil
	default:
		return fmt.Errorf("unknown operation %q", operation)
	}
}

type onlyWriter struct{ io.Writer }

func openAll(session *yamux.Session, streams, length uint32) uint32 {
	var right uint32
	var lock sync.Mutex
	var all sync.WaitGroup
	for n := range streams {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := echoed(session, int64(n), int64(length)); err != nil {
				log.Printf("own stream %d: %v", n, err)
				return
			}
			lock.Lock()
			defer lock.Unlock()
			right++
		}()
	}
	all.Wait()
	return right
}

// Sends random bytes on a stream of its own and expects the same back.
func echoed(session *yamux.Session, seed, length int64) error {
	stream, err := session.OpenStream()
	if err != nil {
		return err
	}
	sent := crc32.NewIEEE()
	failed := make(chan error, 1)
	go func() {
		from := io.LimitReader(rand.New(rand.NewSource(seed)), length)
		_, err := io.Copy(io.MultiWriter(stream, sent), from)
		if closed := stream.Close(); err == nil {
			err = closed
		}
		failed <- err
	}()
	back := crc32.NewIEEE()
	got, err := io.Copy(back, stream)
	if err != nil {
		return err
	}
	if err := <-failed; err != nil {
		return err
	}
	if got != length || back.Sum32() != sent.Sum32() {
		return fmt.Errorf("sent %d bytes (%08x), got %d (%08x)", length, sent.Sum32(), got, back.Sum32())
	}
	return nil
}
