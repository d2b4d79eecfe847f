package main

import (
	"io"
	"strings"
	"testing"
)

func TestTokenOfPage(t *testing.T) {
	t.Parallel()
	filler := `{"metadata":{"name":"x","continue":"no"},"data":"` + strings.Repeat("x", 2*edge) + `"}`
	for name, test := range map[string]struct {
		page, want string
		fails      bool
	}{
		"in front":       {page: `{"kind":"List","metadata":{"continue":"abc","remainingItemCount":7},"items":[` + filler + `]}`, want: "abc"},
		"at the end":     {page: `{"apiVersion":"v1","items":[` + filler + `],"kind":"List","metadata":{"continue":"abc"}}`, want: "abc"},
		"last page":      {page: `{"kind":"List","metadata":{"resourceVersion":"1"},"items":[` + filler + `]}`},
		"empty list":     {page: `{"items":[],"metadata":{"continue":""}}`},
		"short":          {page: `{"metadata":{"continue":"abc"},"items":[]}`, want: "abc"},
		"no metadata":    {page: `{"items":[]}`, fails: true},
		"broken":         {page: `{"metadata":{"continue":"ab`, fails: true},
		"nothing at all": {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e edges
			if _, err := io.CopyBuffer(struct{ io.Writer }{&e}, strings.NewReader(test.page), make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			got, err := e.token()
			if (err != nil) != test.fails || got != test.want {
				t.Errorf("token %q, error %v", got, err)
			}
		})
	}
}

func TestMixFillsANamespace(t *testing.T) {
	t.Parallel()
	sum := 0
	for _, part := range mix {
		sum += part.count
	}
	if sum != perNamespace {
		t.Errorf("the mix has %d objects, not %d", sum, perNamespace)
	}
	first, second := newText(1), newText(1)
	if a, b := first.config(100), second.config(100); a != b {
		t.Errorf("the same seed makes two texts:\n%s\n%s", a, b)
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []float64
		want   spread
	}{
		"odd":  {values: []float64{3, 1, 2}, want: spread{median: 2, least: 1, most: 3}},
		"even": {values: []float64{4, 1, 2, 3}, want: spread{median: 2.5, least: 1, most: 4}},
		"one":  {values: []float64{5}, want: spread{median: 5, least: 5, most: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := spreadOf(test.values); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestMissingObjects(t *testing.T) {
	t.Parallel()
	here, gone := object{"configmaps", "a", "here"}, object{"configmaps", "a", "gone"}
	e := &expectation{objects: []object{here, gone}}
	err := e.missing(map[object]entry{here: {places: 2}})
	if err == nil || !strings.Contains(err.Error(), gone.String()) || strings.Contains(err.Error(), here.String()) {
		t.Errorf("error %v", err)
	}
	if err := e.missing(map[object]entry{here: {places: 2}, gone: {places: 2}}); err != nil {
		t.Errorf("nothing is missing, but: %v", err)
	}
}
