package flag

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestList(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sets []string
		want List
	}{
		"one":                {[]string{"a"}, List{"a"}},
		"several":            {[]string{"a,b"}, List{"a", "b"}},
		"blanks":             {[]string{" a , b ,"}, List{"a", "b"}},
		"the last use wins":  {[]string{"a,b", "c"}, List{"c"}},
		"empty means no one": {[]string{"a", ""}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l List
			for _, s := range c.sets {
				if err := l.Set(s); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, l); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOptionalBool(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want string
	}{
		"unset":      {nil, "<nil>"},
		"bare":       {[]string{"--b"}, "true"},
		"with value": {[]string{"--b=false"}, "false"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b OptionalBool
			fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
			AddOptionalBool(fs, &b, "b", "usage")
			if err := fs.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("got %s, want %s", b.String(), c.want)
			}
		})
	}
	var b OptionalBool
	if err := b.Set("maybe"); err == nil {
		t.Error("maybe was taken for a bool")
	}
}

func TestMap(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		separator string
		sets      []string
		want      map[string]string
		wantErr   string
	}{
		"merges":             {"=", []string{"a=1,b=2", "b=3"}, map[string]string{"a": "1", "b": "3"}, ""},
		"quotes hold commas": {"=", []string{`"a=x=y,z",b=2`}, map[string]string{"a": "x=y,z", "b": "2"}, ""},
		"colon":              {":", []string{"old:new"}, map[string]string{"old": "new"}, ""},
		"empty value":        {"=", []string{"a="}, map[string]string{"a": ""}, ""},
		"no separator":       {":", []string{"old=new"}, nil, `"old=new" is not of the form key:value`},
		"nothing":            {"=", []string{""}, nil, `read "" as a list of key=value: EOF`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := NewMap(c.separator)
			var err error
			for _, s := range c.sets {
				if err = m.Set(s); err != nil {
					break
				}
			}
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr {
					t.Fatalf("got %v, want %s", err, c.wantErr)
				}
				return
			}
			if diff := cmp.Diff(c.want, m.Data()); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestSelector(t *testing.T) {
	t.Parallel()
	var s Selector
	if err := s.Set("app=web,tier!=cache,env in (a,b)"); err != nil {
		t.Fatal(err)
	}
	if got, want := s.String(), "app=web,env in (a,b),tier notin (cache)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range []string{"app in", "=x", "app=a b", "app=" + strings.Repeat("x", 64)} {
		if err := s.Set(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	var d Duration
	if err := d.Set("1h30m"); err != nil || d.Value != 90*time.Minute {
		t.Errorf("got %v, %v", d.Value, err)
	}
	cases := map[string]string{
		"30d":  `"30d" is not a duration; hint: write 720h for 30 days`,
		"soon": `"soon" is not a duration; hint: units are h, m and s, as in 720h (30 days) or 1h30m`,
		"-1h":  `"-1h" is negative; hint: durations count from now on, as in 720h`,
	}
	for in, want := range cases {
		if err := d.Set(in); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
}
