package gcetest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	accessToken = "ya29.gcetest-token"
	scope       = "https://www.googleapis.com/auth/compute"
)

// rightsOf are the rights of IAM that a method needs, each on the resource itself.
var rightsOf = map[string][]string{
	"disks.get":            {"compute.disks.get"},
	"disks.insert":         {"compute.disks.create", "compute.snapshots.useReadOnly"},
	"regionDisks.get":      {"compute.disks.get"},
	"regionDisks.insert":   {"compute.disks.create", "compute.snapshots.useReadOnly"},
	"snapshots.get":        {"compute.snapshots.get"},
	"snapshots.list":       {"compute.snapshots.list"},
	"snapshots.insert":     {"compute.snapshots.create", "compute.disks.createSnapshot"},
	"snapshots.delete":     {"compute.snapshots.delete"},
	"zoneOperations.get":   {"compute.zoneOperations.get"},
	"regionOperations.get": {"compute.regionOperations.get"},
	"globalOperations.get": {"compute.globalOperations.get"},
}

// labelRights are those that a method needs besides when there are labels.
var labelRights = map[string]string{
	"disks.insert":       "compute.disks.setLabels",
	"regionDisks.insert": "compute.disks.setLabels",
	"snapshots.insert":   "compute.snapshots.setLabels",
}

// errSignature is an assertion that another key has signed.
var errSignature = errors.New("invalid JWT signature")

// authorized says whether who asks has shown a token and has the rights.
func (s *Server) authorized(r *request) *refusal {
	if r.http.Header.Get("Authorization") != "Bearer "+accessToken {
		return &refusal{status: http.StatusUnauthorized, reason: "authError", message: "Invalid Credentials"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rights) == 0 {
		return nil
	}
	needed := slices.Clone(rightsOf[r.method])
	var labelled struct{ Labels map[string]string }
	_ = json.Unmarshal(r.body, &labelled) // the handler tells what is wrong with it
	if right := labelRights[r.method]; right != "" && len(labelled.Labels) > 0 {
		needed = append(needed, right)
	}
	for _, right := range needed {
		if !slices.Contains(s.rights, right) {
			path := strings.TrimSuffix(r.path, "/"+r.name) + "/" + r.name
			return &refusal{status: http.StatusForbidden, reason: "forbidden", message: fmt.Sprintf("Required '%s' permission for '%s'", right, path)}
		}
	}
	return nil
}

// serviceAccountKey is made once, since that takes long.
var serviceAccountKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// makeCredentials writes the key file of a service account.
func (s *Server) makeCredentials(tb testing.TB) {
	tb.Helper()
	key, err := serviceAccountKey()
	if err != nil {
		tb.Fatal(err)
	}
	s.key = &key.PublicKey
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": Project, "private_key_id": "1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "velero@" + Project + ".iam.gserviceaccount.com", "token_uri": s.URL + "/token",
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.CredentialsFile = filepath.Join(tb.TempDir(), "cloud")
	if err := os.WriteFile(s.CredentialsFile, body, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// token gives a token for an assertion that the service account has signed. A fault of
// the method "token" refuses it with its message.
func (s *Server) token(w http.ResponseWriter, req *http.Request) {
	err := s.checkAssertion(req.PostFormValue("assertion"))
	if fault := s.faultFor(&request{method: "token"}); fault != nil {
		err = errors.New(fault.Message)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(encode(map[string]string{"error": "invalid_grant", "error_description": err.Error()})) // the client's error says more
		return
	}
	_, _ = w.Write(encode(map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": 3600})) // as above
}

func (s *Server) checkAssertion(assertion string) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return errors.New("the assertion is no JWT")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(s.key, crypto.SHA256, sum[:], signature); err != nil {
		return errSignature
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	if !strings.Contains(string(claims), scope) {
		return errors.New("the scope is wrong")
	}
	return nil
}
