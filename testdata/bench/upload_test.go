package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestUploadResult(t *testing.T) {
	t.Parallel()
	r := &uploadResult{
		store: "minio", client: "transfermanager", sizeBytes: 100 * mib,
		theirs: []taken{{Seconds: 1}, {Seconds: 2}, {Seconds: 3}},
		ours: []taken{
			{Seconds: 2, PeakRSSBytes: 50 * mib, PeakAnonBytes: 30 * mib},
			{Seconds: 4, PeakRSSBytes: 70 * mib, PeakAnonBytes: 20 * mib},
			{Seconds: 4, PeakRSSBytes: 40 * mib, PeakAnonBytes: 10 * mib},
		},
	}
	if got := r.ratio(); got != 0.5 {
		t.Errorf("ratio %v", got)
	}
	if least, most := r.ratios(); least != 0.5 || most != 0.75 {
		t.Errorf("ratios %v to %v", least, most)
	}
	figures := uploads{r}.figures()
	if len(figures) != 1 || figures[0].PeakRSSBytes != 70*mib || figures[0].PeakAnonBytes != 30*mib || figures[0].OursRate != 25*mib {
		t.Errorf("%+v", figures)
	}
	var text bytes.Buffer
	(&summary{uploads: uploads{r}}).printTargets(&text)
	for _, want := range []string{"0.50, at least 0.90: NOT MET", "70.0, at most 64.0: NOT MET", "30.0, at most 64.0: met"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}

func TestUploadBodyRepeats(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if n, err := got.ReadFrom(uploadBody(2*uploadBlock + 10)); n != 2*uploadBlock+10 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	body := got.Bytes()
	if !bytes.Equal(body[:uploadBlock], body[uploadBlock:2*uploadBlock]) || bytes.Count(body[:uploadBlock], []byte{0}) > uploadBlock/100 {
		t.Error("it isn't one block of noise over and over")
	}
}

func TestAnonymousMemory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("only Linux tells")
	}
	if got := anonymousMemory(os.Getpid()); got < mib || got > 10<<30 {
		t.Errorf("%d bytes", got)
	}
	if got := anonymousMemory(-1); got != 0 {
		t.Errorf("of no process: %d bytes", got)
	}
}
