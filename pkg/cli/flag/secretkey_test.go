package flag

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretKey(t *testing.T) {
	t.Parallel()
	hint := "; hint: name one Secret and the key in it, such as cloud-credentials=cloud"
	for name, c := range map[string]struct {
		sets          []string
		want, wantErr string
	}{
		"one":         {[]string{"east=cloud"}, "east=cloud", ""},
		"last wins":   {[]string{"east=cloud", "west=key"}, "west=key", ""},
		"none":        {[]string{"east=cloud", ""}, "", ""},
		"blanks":      {[]string{" east = cloud "}, "east=cloud", ""},
		"no key":      {[]string{"east"}, "", `"east" is not of the form SECRET=KEY` + hint},
		"two":         {[]string{"a=b,c=d"}, "", `"a=b,c=d" is not of the form SECRET=KEY` + hint},
		"empty key":   {[]string{"east="}, "", `"east=" is not of the form SECRET=KEY` + hint},
		"no secret":   {[]string{"=cloud"}, "", `"=cloud" is not of the form SECRET=KEY` + hint},
		"bare equals": {[]string{"a=b=c"}, "", `"a=b=c" is not of the form SECRET=KEY` + hint},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var k SecretKey
			check(t, &k, c.sets, c.want, c.wantErr)
		})
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	hint := "; hint: KEY- takes a key out"
	for name, c := range map[string]struct {
		sets          []string
		want, wantErr string
	}{
		"set and take out": {[]string{"region=x,s3Url-"}, "region=x,s3Url-", ""},
		"last word counts": {[]string{"region=x", "region-"}, "region-", ""},
		"empty value":      {[]string{"checksumAlgorithm="}, "checksumAlgorithm=", ""},
		"value with =":     {[]string{"tagging=a=1&b=2"}, "tagging=a=1&b=2", ""},
		"dash in value":    {[]string{"region=a-"}, "region=a-", ""},
		"comma":            {[]string{`"a=1,2",b-`}, "a=1,2,b-", ""},
		"bare key":         {[]string{"region"}, "", `"region" is neither KEY=VALUE nor KEY-` + hint},
		"only a dash":      {[]string{"-"}, "", `"-" is neither KEY=VALUE nor KEY-` + hint},
		"no key":           {[]string{"=x"}, "", `"=x" is neither KEY=VALUE nor KEY-` + hint},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var changes Changes
			check(t, &changes, c.sets, c.want, c.wantErr)
		})
	}
}

func TestChangesApply(t *testing.T) {
	t.Parallel()
	var changes Changes
	if err := changes.Set("a=1,b-,c="); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{"a": "0", "b": "0", "d": "0"}
	if diff := cmp.Diff(map[string]string{"a": "1", "c": "", "d": "0"}, changes.Apply(before)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "0", "b": "0", "d": "0"}, before); diff != "" {
		t.Errorf("changed what it was given: %s", diff)
	}
	changes = Changes{}
	if err := changes.Set("b-"); err != nil {
		t.Fatal(err)
	}
	if got := changes.Apply(map[string]string{"b": "0"}); got != nil {
		t.Errorf("got %v, want nil", got)
	}
}
