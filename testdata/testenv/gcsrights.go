package testenv

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (f *gcsFront) grant(rights []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rights = rights
}

// refusedRight refuses a request that takes a right which the account doesn't
// have: https://cloud.google.com/storage/docs/access-control/iam-json
func (f *gcsFront) refusedRight(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	granted := f.rights
	f.mu.Unlock()
	if granted == nil {
		return false
	}
	for _, right := range f.rightsFor(r) {
		if !slices.Contains(granted, right) {
			refuseGCS(w, http.StatusForbidden, "forbidden", fmt.Sprintf(
				"%s does not have %s access to the Google Cloud Storage object. Permission '%s' denied on resource (or it may not exist).",
				gcsServiceAccount, right, right))
			return true
		}
	}
	return false
}

// rightsFor lists what a request takes.
func (f *gcsFront) rightsFor(r *http.Request) []string {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/storage/v1/b/")
	_, rest, _ := strings.Cut(path, "/")
	switch {
	case strings.HasPrefix(r.URL.Path, "/upload/") && f.replaces(r):
		return []string{"storage.objects.create", "storage.objects.delete"}
	case strings.HasPrefix(r.URL.Path, "/upload/"):
		return []string{"storage.objects.create"}
	case rest == "":
		return []string{"storage.buckets.get"}
	case rest == "o" || rest == "o/":
		return []string{"storage.objects.list"}
	case r.Method == http.MethodDelete:
		return []string{"storage.objects.delete"}
	case !f.exists(r):
		// Who may not list isn't told what there is.
		return []string{"storage.objects.get", "storage.objects.list"}
	default:
		return []string{"storage.objects.get"}
	}
}

// replaces says that an upload begins that no condition keeps from replacing an
// object.
func (f *gcsFront) replaces(r *http.Request) bool {
	query := r.URL.Query()
	return r.Method == http.MethodPost && !query.Has("upload_id") && !query.Has("ifGenerationMatch") && f.exists(r)
}

// exists says whether the object is there that a request is about.
func (f *gcsFront) exists(r *http.Request) bool {
	bucket, name, ok := objectOf(r)
	if !ok {
		return false
	}
	status, err := f.ask(objectPath(bucket, name), nil)
	return err == nil && status == http.StatusOK
}
