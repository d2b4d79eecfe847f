package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// checkRow has room for the longest status and the longest name of a check.
const checkRow = "%-8s  %-17s  %s\n"

// PrintCheckHeader begins the table of a check.
func PrintCheckHeader(w io.Writer) { fmt.Fprintf(w, checkRow, "STATUS", "CHECK", "RESULT") }

// Print writes the row of a check, and its hint on a line of its own. Rows can be
// written as they come: their columns have fixed widths. Some of the text others
// wrote, so nothing but printable characters is written.
func (c Check) Print(w io.Writer) {
	fmt.Fprintf(w, checkRow, string(c.Status), printable(c.Name), printable(c.Text))
	if c.Hint != "" {
		fmt.Fprintf(w, checkRow, "", "", "hint: "+printable(c.Hint))
	}
}

// printable makes text one line without control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.Join(strings.Fields(text), " "))
}

// Verdict says how a check came out, in one line.
func (l *LocationCheck) Verdict() string {
	failed, warnings := l.Count(CheckFailed), l.Count(CheckWarning)
	name := fmt.Sprintf("storage location %q", l.Location)
	switch {
	case failed > 0:
		return fmt.Sprintf("%s is not fit for use: %s failed", name, counted(failed, "check"))
	case l.Interrupted != "":
		return fmt.Sprintf("%s was not checked to the end: %s", name, l.Interrupted)
	case warnings > 0:
		return fmt.Sprintf("%s works, with %s", name, counted(warnings, "warning"))
	}
	return name + " works"
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
