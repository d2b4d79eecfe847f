package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCheckRows(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	PrintCheckHeader(&out)
	Check{Name: "list", Status: CheckOK, Text: "the account may list"}.Print(&out)
	Check{Name: "concurrent-create", Status: CheckWarning, Text: "two\nlines \x1b[31mred", Hint: "do\tthis"}.Print(&out)
	want := `STATUS    CHECK              RESULT
ok        list               the account may list
warning   concurrent-create  two lines �[31mred
                             hint: do this
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	check := func(statuses ...CheckStatus) LocationCheck {
		l := LocationCheck{Location: "default"}
		for _, s := range statuses {
			l.Checks = append(l.Checks, Check{Status: s})
		}
		return l
	}
	interrupted := check(CheckOK)
	interrupted.Interrupted = "the deadline"
	for want, l := range map[string]LocationCheck{
		`storage location "default" works`:                                    check(CheckOK, CheckSkipped),
		`storage location "default" works, with 1 warning`:                    check(CheckOK, CheckWarning),
		`storage location "default" is not fit for use: 2 checks failed`:      check(CheckFailed, CheckWarning, CheckFailed),
		`storage location "default" was not checked to the end: the deadline`: interrupted,
	} {
		if got := l.Verdict(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	if got := Rate(1000, 2*time.Second); got != 500 {
		t.Error(got)
	}
	if got := Rate(1000, 0); got != 0 {
		t.Error(got)
	}
}
