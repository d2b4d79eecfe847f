package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Outcome is how an operation ended.
type Outcome string

const (
	// Completed means that everything asked for was done.
	Completed Outcome = "Completed"
	// PartiallyFailed means that the result is usable and something is missing.
	PartiallyFailed Outcome = "PartiallyFailed"
	// Failed means that there is no usable result.
	Failed Outcome = "Failed"
	// Cancelled means that it was stopped by the user or by a deadline.
	Cancelled Outcome = "Cancelled"
	// Usage means that the operation was refused before it began.
	Usage Outcome = "Usage"
	// Temporary means that the cause may pass: another attempt is worth it.
	Temporary Outcome = "Temporary"
)

// exitCodes are the executor's; 1 and 2 are left to a process that died by
// itself, since a Go panic exits with 2.
var exitCodes = map[Outcome]int{
	Completed: 0, Usage: 10, PartiallyFailed: 11, Failed: 12, Cancelled: 13, Temporary: 75,
}

// ExitCode is the executor's exit code for o.
func (o Outcome) ExitCode() int {
	if code, ok := exitCodes[o]; ok {
		return code
	}
	return exitCodes[Usage]
}

// Phase is the phase of a Backup or Restore that ended with o; a cancelled one
// is Failed, and its reason says so. Temporary is no end and has no phase.
func (o Outcome) Phase() string {
	switch o {
	case Completed, PartiallyFailed, Failed:
		return string(o)
	case Cancelled:
		return string(Failed)
	case Usage:
		return "FailedValidation"
	}
	return ""
}

// Summary is the end of an operation in a few words.
type Summary struct {
	Outcome Outcome `json:"outcome"`
	// Reason says why the outcome is not Completed; empty for Completed.
	Reason    string   `json:"reason,omitempty"`
	Warnings  int      `json:"warnings,omitempty"`
	Errors    int      `json:"errors,omitempty"`
	Items     int      `json:"items,omitempty"`
	TopCauses []string `json:"topCauses,omitempty"`
}

// Termination is what an executor leaves in its termination message.
type Termination struct {
	Summary
	// Time is when the message was written, UTC.
	Time time.Time `json:"time"`
}

// maxTermination is the size in bytes up to which the kubelet keeps a
// termination message.
const maxTermination = 4096

// Termination encodes s for the termination message: JSON of at most 4096
// bytes; causes and the end of the reason are left out when it would be more.
func (s Summary) Termination(now time.Time) []byte {
	t := Termination{Summary: s, Time: now.UTC().Truncate(time.Second)}
	for {
		body, err := json.Marshal(t)
		if err != nil {
			return nil
		}
		if len(body) <= maxTermination {
			return body
		}
		if n := len(t.TopCauses); n > 0 {
			t.TopCauses = t.TopCauses[:n-1]
			continue
		}
		t.Reason = cut(t.Reason, len(t.Reason)/2)
	}
}

// cut shortens text to at most n bytes without splitting a character.
func cut(text string, n int) string {
	for n > 0 && n < len(text) && text[n]&0xC0 == 0x80 {
		n--
	}
	return text[:min(n, len(text))]
}

// ParseTermination reads what Summary.Termination wrote.
func ParseTermination(message []byte) (Termination, error) {
	var t Termination
	if err := json.Unmarshal(message, &t); err != nil {
		return Termination{}, fmt.Errorf("read termination message: %w", err)
	}
	if t.Outcome == "" {
		return Termination{}, fmt.Errorf("read termination message: no outcome in it")
	}
	return t, nil
}

// Ended is the summary of an operation that returned s and err: an error is a
// failure even where the summary knows nothing of it.
func Ended(s Summary, err error) Summary {
	if err == nil {
		return s
	}
	if s.Outcome == "" || s.Outcome == Completed {
		s.Outcome = Failed
	}
	switch {
	case s.Reason == "":
		s.Reason = err.Error()
	case !strings.Contains(s.Reason, err.Error()):
		s.Reason += "; " + err.Error()
	}
	return s
}
