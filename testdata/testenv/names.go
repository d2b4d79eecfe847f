package testenv

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// ResolveNames lets this process find S3Domain, and the names below it, at
// 127.0.0.1; no other name has an address then but those in /etc/hosts. It must be
// called before anything looks up a name.
func ResolveNames() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerNames(ours)
		return theirs, nil
	}}
}

// answerNames is a name server on one connection: each message has its length
// before it, as over TCP.
func answerNames(conn net.Conn) {
	defer conn.Close()
	for {
		var length uint16
		if binary.Read(conn, binary.BigEndian, &length) != nil {
			return // closed
		}
		question := make([]byte, length)
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		answer, err := answerName(question)
		if err != nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func answerName(question []byte) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(question); err != nil {
		return nil, err
	}
	message.Response, message.Authoritative, message.RecursionAvailable = true, true, true
	message.Additionals = nil
	for _, q := range message.Questions {
		name := strings.TrimSuffix(q.Name.String(), ".")
		if name != S3Domain && !strings.HasSuffix(name, "."+S3Domain) {
			message.RCode = dnsmessage.RCodeNameError
			continue
		}
		if q.Type == dnsmessage.TypeA {
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	return message.Pack()
}
