package testenv

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAnswerName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"s3.test.": "127.0.0.1", "bucket.s3.test.": "127.0.0.1", "a.b.s3.test.": "127.0.0.1",
		"nots3.test.": "", "example.com.": "",
	} {
		question := dnsmessage.Message{
			Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
			Questions: []dnsmessage.Question{{
				Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
			}},
		}
		packed, err := question.Pack()
		if err != nil {
			t.Fatal(err)
		}
		packed, err = answerName(packed)
		if err != nil {
			t.Fatal(err)
		}
		var answer dnsmessage.Message
		if err := answer.Unpack(packed); err != nil {
			t.Fatal(err)
		}
		if answer.ID != 7 || !answer.Response {
			t.Errorf("%s: header %+v", name, answer.Header)
		}
		if want == "" {
			if len(answer.Answers) > 0 || answer.RCode != dnsmessage.RCodeNameError {
				t.Errorf("%s: %+v", name, answer)
			}
			continue
		}
		if len(answer.Answers) != 1 || answer.Answers[0].Body.(*dnsmessage.AResource).A != [4]byte{127, 0, 0, 1} {
			t.Errorf("%s: %+v", name, answer.Answers)
		}
	}
}
