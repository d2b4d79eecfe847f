package spelling_test

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/spelling"
)

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"pods", "pods", 0}, {"pod", "pods", 1}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"secrets", "secert", 3}} {
		if got := spelling.Distance(c.a, c.b); got != c.want || spelling.Distance(c.b, c.a) != got {
			t.Errorf("Distance(%q, %q) = %d, want %d both ways", c.a, c.b, got, c.want)
		}
	}
}
