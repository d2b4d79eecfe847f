package testenv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// gcsUpload is a resumable upload under way.
type gcsUpload struct {
	bucket, name string

	mu     sync.Mutex
	stored int64     // guarded by mu; bytes that the server has
	last   *recorded // guarded by mu; its last answer, if that completed the upload
}

// recorded is an answer of the server.
type recorded struct {
	status int
	header http.Header
	body   []byte
}

func (a *recorded) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that is gone needs no answer
}

// upload is a request below /upload/: it begins, goes on with or aborts a resumable
// upload, or it is a whole object.
func (f *gcsFront) upload(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	id := query.Get("upload_id")
	switch {
	case id != "" && r.Method == http.MethodDelete:
		f.mu.Lock()
		delete(f.uploads, id)
		f.mu.Unlock()
		f.proxy.ServeHTTP(w, r)
	case id != "":
		f.mu.Lock()
		u := f.uploads[id]
		f.mu.Unlock()
		if u == nil {
			refuseGCS(w, http.StatusGone, "gone", "Upload session is gone.")
			return
		}
		f.sendPart(w, r, u)
	case query.Get("uploadType") == "resumable":
		f.begin(w, r)
	default:
		// A condition that isn't met is told before a lock.
		if query.Get("ifGenerationMatch") == "" && f.refusedLocked(w, r) {
			return
		}
		f.proxy.ServeHTTP(w, r)
	}
}

func (f *gcsFront) begin(w http.ResponseWriter, r *http.Request) {
	bucket, name, _ := objectOf(r)
	if status, _ := f.ask("/storage/v1/b/"+url.PathEscape(bucket), nil); status == http.StatusNotFound {
		refuseGCS(w, http.StatusNotFound, "notFound", "The specified bucket does not exist.")
		return
	}
	answer, err := f.forward(r, r.Header, r.Body)
	if err != nil {
		refuseGCS(w, http.StatusBadGateway, "backendError", err.Error())
		return
	}
	if location, err := url.Parse(answer.header.Get("Location")); err == nil && answer.status == http.StatusOK {
		f.mu.Lock()
		f.uploads[location.Query().Get("upload_id")] = &gcsUpload{bucket: bucket, name: name}
		f.mu.Unlock()
	}
	answer.write(w)
}

// sendPart takes a part whole before it hands on what the server doesn't have yet:
// what a client sends again after a broken connection must not count twice.
func (f *gcsFront) sendPart(w http.ResponseWriter, r *http.Request, u *gcsUpload) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last != nil {
		u.last.write(w)
		return
	}
	var from, to, total int64
	var size string
	ended := false
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%s", &from, &to, &size); err != nil {
		if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes */%d", &total); err != nil {
			refuseGCS(w, http.StatusBadRequest, "badRequest", "Invalid Content-Range.")
			return
		}
		from, to, ended = total, total-1, true
	} else {
		ended = size != "*"
	}
	if from > u.stored || to+1-from != int64(len(body)) {
		refuseGCS(w, http.StatusServiceUnavailable, "backendError", "Bytes are missing.")
		return
	}
	f.store(w, r, u, part{body: body[min(int64(len(body)), u.stored-from):], end: to + 1, last: ended})
}

// part is what the server doesn't have yet of an upload.
type part struct {
	body []byte
	end  int64 // offset behind it
	last bool
}

func (f *gcsFront) store(w http.ResponseWriter, r *http.Request, u *gcsUpload, p part) {
	if !p.last && len(p.body) == 0 {
		w.Header().Set("X-Http-Status-Code-Override", "308")
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", u.stored-1))
		w.WriteHeader(http.StatusOK)
		return
	}
	if p.last && f.refusedLockedObject(w, u.bucket, u.name) {
		return
	}
	header := r.Header.Clone()
	header.Set("Content-Range", p.contentRange())
	answer, err := f.forward(r, header, bytes.NewReader(p.body))
	if err != nil {
		refuseGCS(w, http.StatusBadGateway, "backendError", err.Error())
		return
	}
	if answer.status == http.StatusOK {
		u.stored = p.end
		if p.last {
			u.last = answer
		}
	}
	answer.write(w)
}

func (p part) contentRange() string {
	switch {
	case len(p.body) == 0:
		return fmt.Sprintf("bytes */%d", p.end)
	case p.last:
		return fmt.Sprintf("bytes %d-%d/%d", p.end-int64(len(p.body)), p.end-1, p.end)
	default:
		return fmt.Sprintf("bytes %d-%d/*", p.end-int64(len(p.body)), p.end-1)
	}
}

// forward makes the request to the server, to its end even if the client goes.
func (f *gcsFront) forward(r *http.Request, header http.Header, body io.Reader) (*recorded, error) {
	target := *r.URL
	target.Scheme, target.Host = f.backend.Scheme, f.backend.Host
	req, err := http.NewRequest(r.Method, target.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header, req.Host = header.Clone(), r.Host
	req.Header.Del("Content-Length")
	req.Header.Set("X-Forwarded-Proto", "http")
	if r.TLS != nil {
		req.Header.Set("X-Forwarded-Proto", "https")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return &recorded{status: resp.StatusCode, header: resp.Header, body: content}, err
}

func (f *gcsFront) openUploads() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, u := range f.uploads {
		u.mu.Lock()
		if u.last == nil {
			names = append(names, u.name)
		}
		u.mu.Unlock()
	}
	slices.Sort(names)
	return names
}

// objectOf is the object that a request is about.
func objectOf(r *http.Request) (bucket, name string, ok bool) {
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.EscapedPath(), "/upload"), "/storage/v1/b/")
	bucket, rest, _ := strings.Cut(path, "/o")
	if name = r.URL.Query().Get("name"); name == "" {
		var err error
		if name, err = url.PathUnescape(strings.TrimPrefix(rest, "/")); err != nil {
			return "", "", false
		}
	}
	return bucket, name, name != ""
}

// refusedLocked refuses to replace or delete an object that is retained.
func (f *gcsFront) refusedLocked(w http.ResponseWriter, r *http.Request) bool {
	bucket, name, ok := objectOf(r)
	return ok && f.refusedLockedObject(w, bucket, name)
}

// refusedLockedObject doesn't where the bucket keeps what is replaced or deleted.
func (f *gcsFront) refusedLockedObject(w http.ResponseWriter, bucket, name string) bool {
	var object struct {
		Retention struct {
			Until time.Time `json:"retainUntilTime"`
		} `json:"retention"`
	}
	var of struct {
		Versioning struct {
			Enabled bool `json:"enabled"`
		} `json:"versioning"`
	}
	if status, _ := f.ask(objectPath(bucket, name), &object); status != http.StatusOK || time.Now().After(object.Retention.Until) {
		return false
	}
	if _, err := f.ask("/storage/v1/b/"+url.PathEscape(bucket), &of); err != nil || of.Versioning.Enabled {
		return false
	}
	refuseGCS(w, http.StatusForbidden, "retentionPolicyNotMet", fmt.Sprintf(
		"Object '%s/%s' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until %s",
		bucket, name, object.Retention.Until.Format(time.RFC3339)))
	return true
}

// ask gets something from the server; into may be nil.
func (f *gcsFront) ask(path string, into any) (status int, err error) {
	resp, err := http.Get(f.backend.String() + path)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if into == nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.NewDecoder(resp.Body).Decode(into)
}
