package read

import (
	"net/http"
	"path"
	"strings"
	"testing"
)

func FuzzScope(f *testing.F) {
	for _, key := range []string{
		"backups/shop/velero-backup.json", "backups/shop/", "backups/shop", "backups/shop2/x", "backups/shop/../shop2/x",
		"backups/shop/./x", "backups/shop//x", "/backups/shop/x", `backups/shop\..\x`, "backups/shop/\x00", "backups/shop/\xff", "",
		"restores/r/log", "restores/r/log2", "backups/shop/.../x", "backups/shop/..",
	} {
		f.Add(key)
	}
	allowed, err := parseScope([]string{"backups/shop/", "restores/r/log"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		inside := key == "restores/r/log" || strings.HasPrefix(key, "backups/shop/")
		if allowed.hasKey(key) {
			if !inside || path.Clean(key) != key || key == "backups/shop/" {
				t.Errorf("key %q is served", key)
			}
			for segment := range strings.SplitSeq(key, "/") {
				if segment == "" || segment == "." || segment == ".." {
					t.Errorf("key %q is served", key)
				}
			}
		}
		if allowed.hasPrefix(key) && !strings.HasPrefix(key, "backups/shop/") {
			t.Errorf("prefix %q is listed", key)
		}
	})
}

func FuzzWanted(f *testing.F) {
	for _, value := range []string{"bytes=0-", "bytes=-5", "bytes=5-2", "bytes=0-0", "bytes=9223372036854775807-", "bytes=-9223372036854775807", "bytes=0-1,2-3", "x", ""} {
		f.Add(value, int64(10))
	}
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			return
		}
		part, partial, satisfiable := wanted(http.Header{"Range": {value}}, "", size)
		if !satisfiable {
			return
		}
		if part.offset < 0 || part.length < 0 || part.offset+part.length > size {
			t.Errorf("wanted(%q, %d) = %+v lies outside", value, size, part)
		}
		if !partial && part != (span{length: size}) {
			t.Errorf("wanted(%q, %d) = %+v, want the whole", value, size, part)
		}
	})
}
