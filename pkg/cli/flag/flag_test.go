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
		"1d":   `"1d" is not a duration; hint: write 24h for a day`,
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

func TestRepeated(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sets []string
		want string
	}{
		"every use adds": {[]string{"a/b/c, d/e", "f/g"}, "a/b/c,d/e,f/g"},
		"once each":      {[]string{"a/b", "a/b,,"}, "a/b"},
		"nothing":        {[]string{""}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r Repeated
			for _, s := range c.sets {
				if err := r.Set(s); err != nil {
					t.Fatal(err)
				}
			}
			if r.String() != c.want {
				t.Errorf("got %q, want %q", r.String(), c.want)
			}
		})
	}
}

func TestOrSelector(t *testing.T) {
	t.Parallel()
	const hint = "; hint: for example 'app=web or app in (db, cache)'"
	cases := map[string]struct {
		sets          []string
		want, wantErr string
	}{
		"two":             {[]string{"app=web or tier!=cache,app=db"}, "app=web or app=db,tier notin (cache)", ""},
		"one":             {[]string{"app=web"}, "app=web", ""},
		"repeated":        {[]string{"a=b or c=d", "e=f"}, "a=b or c=d or e=f", ""},
		"or in a name":    {[]string{"colour=orange or or=or"}, "colour=orange or or=or", ""},
		"a bad part":      {[]string{"app=web or app in"}, "", `"app in": unable to parse requirement: found '' expected: '('` + hint},
		"nothing between": {[]string{"app=web or  or x=y"}, "", `a selector beside "or" is missing` + hint},
		"nothing":         {[]string{""}, "", `a selector beside "or" is missing` + hint},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o OrSelector
			check(t, &o, c.sets, c.want, c.wantErr)
		})
	}
}

func TestOrderedResources(t *testing.T) {
	t.Parallel()
	const hint = "; hint: for example 'pods=shop/db-0,shop/db-1;persistentvolumes=pv-a'"
	cases := map[string]struct {
		sets          []string
		want, wantErr string
	}{
		"two kinds":         {[]string{"pods=ns1/a,ns1/b;persistentvolumes=pv1"}, "persistentvolumes=pv1;pods=ns1/a,ns1/b", ""},
		"blanks":            {[]string{" pods = ns1/a , ns1/b ; nodes=n "}, "nodes=n;pods=ns1/a,ns1/b", ""},
		"the last use wins": {[]string{"pods=a/b", "nodes=n"}, "nodes=n", ""},
		"no kind":           {[]string{"pods=a/b;=c"}, "", `"=c" is not of the form KIND=NAME,NAME` + hint},
		"no names":          {[]string{"pods"}, "", `"pods" is not of the form KIND=NAME,NAME` + hint},
		"empty names":       {[]string{"pods="}, "", `"" in "pods=" is neither NAMESPACE/NAME nor NAME` + hint},
		"two signs":         {[]string{"pods=a/b=c/d"}, "", `"pods=a/b=c/d" is not of the form KIND=NAME,NAME` + hint},
		"a colon":           {[]string{"pods=a/b;nodes:n"}, "", `"nodes:n" is not of the form KIND=NAME,NAME` + hint},
		"too many slashes":  {[]string{"pods=a/b/c"}, "", `"a/b/c" in "pods=a/b/c" is neither NAMESPACE/NAME nor NAME` + hint},
		"no namespace":      {[]string{"pods=a/b,/c"}, "", `"/c" in "pods=a/b,/c" is neither NAMESPACE/NAME nor NAME` + hint},
		"not a kind":        {[]string{"Pods=a/b"}, "", `"Pods" in "Pods=a/b" is not the plural name of a kind, such as pods` + hint},
		"twice":             {[]string{"pods=a/b;pods=c/d"}, "", `"pods" is there twice; hint: put all its names behind one "pods="`},
		"a last semicolon":  {[]string{"pods=a/b;"}, "", `"" is not of the form KIND=NAME,NAME` + hint},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o OrderedResources
			check(t, &o, c.sets, c.want, c.wantErr)
		})
	}
}

// check sets v and looks at what it then says, or at the error.
func check(t *testing.T, v pflag.Value, sets []string, want, wantErr string) {
	t.Helper()
	var err error
	for _, s := range sets {
		if err = v.Set(s); err != nil {
			break
		}
	}
	if got := errorText(err); got != wantErr {
		t.Fatalf("error\n got %s\nwant %s", got, wantErr)
	}
	if v.String() != want {
		t.Errorf("got %q, want %q", v.String(), want)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestChoice(t *testing.T) {
	t.Parallel()
	c := NewChoice("none", "update", "recreate")
	if c.String() != "" {
		t.Errorf("unset: %q", c.String())
	}
	if err := c.Set("update"); err != nil || c.Value != "update" {
		t.Errorf("got %q, %v", c.Value, err)
	}
	for _, word := range []string{"", "Update", "replace"} {
		err := c.Set(word)
		if err == nil || !strings.Contains(err.Error(), "is not known; hint: there are none, update and recreate") {
			t.Errorf("%q: %v", word, err)
		}
	}
	c.Words()[0] = "changed"
	if diff := cmp.Diff([]string{"none", "update", "recreate"}, c.Words()); diff != "" {
		t.Error(diff)
	}
}
