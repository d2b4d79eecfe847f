package testenv

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	gcsTokenPath      = "/token"
	gcsServiceAccount = "velero@testbed.iam.gserviceaccount.com"

	grantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// WriteGoogleKey writes the key file of a service account whose tokens are to be
// had at tokenURL, and returns what its signatures are verified with.
func WriteGoogleKey(path, tokenURL string) (*rsa.PublicKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	body, err := json.MarshalIndent(map[string]string{
		"type":           "service_account",
		"project_id":     "testbed",
		"private_key_id": "1",
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   gcsServiceAccount,
		"token_uri":      tokenURL,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return &key.PublicKey, os.WriteFile(path, body, 0o600)
}

// gcsFront stands before a fake-gcs-server and does what that server leaves out,
// as https://cloud.google.com/storage/docs/json_api/v1/status-codes and
// https://cloud.google.com/storage/docs/performing-resumable-uploads tell it.
type gcsFront struct {
	backend  *url.URL
	proxy    *httputil.ReverseProxy
	keys     []*rsa.PublicKey
	lifetime time.Duration

	mu       sync.Mutex
	count    int                   // guarded by mu; tokens given
	tokens   map[string]time.Time  // guarded by mu; until when each is good
	subjects map[string]bool       // guarded by mu; trusted tokens of others
	uploads  map[string]*gcsUpload // guarded by mu; by upload_id
	rights   []string              // guarded by mu; nil: all
}

func newGCSFront(backend string, keys []*rsa.PublicKey, lifetime time.Duration) (*gcsFront, error) {
	target, err := url.Parse(backend)
	if err != nil {
		return nil, err
	}
	return &gcsFront{
		backend: target,
		proxy: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Host = r.In.Host // the server tells clients where to go on
				r.SetXForwarded()
			},
			ErrorLog: log.New(io.Discard, "", 0),
		},
		keys:     keys,
		lifetime: lifetime,
		tokens:   map[string]time.Time{},
		subjects: map[string]bool{},
		uploads:  map[string]*gcsUpload{},
	}, nil
}

// ServeHTTP implements http.Handler.
func (f *gcsFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == gcsTokenPath:
		f.exchange(w, r)
	case !f.authorized(r):
		refuseGCS(w, http.StatusUnauthorized, "authError", "Invalid Credentials")
	case f.refusedRight(w, r):
	case strings.HasPrefix(r.URL.Path, "/upload/"):
		f.upload(w, r)
	case r.Method == http.MethodDelete && f.refusedLocked(w, r):
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

// refuseGCS answers in the JSON API's form.
func refuseGCS(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{ // a client that is gone needs no answer
		"code":    status,
		"message": message,
		"errors":  []map[string]string{{"domain": "global", "reason": reason, "message": message}},
	}})
}

func (f *gcsFront) authorized(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.mu.Lock()
	defer f.mu.Unlock()
	return ok && time.Now().Before(f.tokens[token])
}

// exchange is the OAuth token endpoint.
func (f *gcsFront) exchange(w http.ResponseWriter, r *http.Request) {
	switch r.PostFormValue("grant_type") {
	case grantJWT:
		if refusal := f.verify(r.PostFormValue("assertion")); refusal != "" {
			refuseToken(w, refusal)
			return
		}
	case grantExchange:
		f.mu.Lock()
		trusted := f.subjects[r.PostFormValue("subject_token")]
		f.mu.Unlock()
		if !trusted {
			refuseToken(w, "The given credential is rejected by the attribute condition.")
			return
		}
	default:
		refuseToken(w, "Unsupported grant type.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that is gone needs no answer
		"access_token":      f.issue(),
		"token_type":        "Bearer",
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
		"expires_in":        int(f.lifetime / time.Second),
	})
}

func refuseToken(w http.ResponseWriter, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": description})
}

// verify checks a service account's assertion: signature, account, times. It
// returns what Google says of a wrong one.
func (f *gcsFront) verify(assertion string) (refusal string) {
	signed, signature := cutLast(assertion, ".")
	_, payload := cutLast(signed, ".")
	sum := sha256.Sum256([]byte(signed))
	rawSignature, err := base64.RawURLEncoding.DecodeString(signature)
	valid := err == nil && slices.ContainsFunc(f.keys, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], rawSignature) == nil
	})
	var claims struct {
		Issuer  string `json:"iss"`
		Expires int64  `json:"exp"`
	}
	rawClaims, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(rawClaims, &claims)
	}
	switch {
	case !valid || err != nil:
		return "Invalid JWT Signature."
	case claims.Issuer != gcsServiceAccount:
		return "Invalid grant: account not found"
	case time.Until(time.Unix(claims.Expires, 0)) < 0:
		return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	}
	return ""
}

func cutLast(s, separator string) (before, after string) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+len(separator):]
}

func (f *gcsFront) issue() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	token := fmt.Sprintf("ya29.%d-%s", f.count, rand.Text())
	f.tokens[token] = time.Now().Add(f.lifetime)
	return token
}

func (f *gcsFront) revoke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

func (f *gcsFront) given() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *gcsFront) trust(subjectToken string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subjects[subjectToken] = true
}
