package ec2test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// authorization is the header of a signed request:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$`)

// maxSkew is how far the clocks may differ.
const maxSkew = 5 * time.Minute

// checkSignature computes the signature of a request again.
func checkSignature(r *http.Request, body []byte) error {
	m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return &refusal{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	key, day, region, service, headers, signature := m[1], m[2], m[3], m[4], m[5], m[6]
	at := r.Header.Get("X-Amz-Date")
	signed, err := parseTime(at)
	switch {
	case service != "ec2" || region != Region:
		return &refusal{http.StatusUnauthorized, "AuthFailure", fmt.Sprintf("Credential should be scoped to a valid region and service, not '%s/%s'.", region, service)}
	case err != nil || time.Since(signed).Abs() > maxSkew:
		return refuse("RequestExpired", "Request has expired.")
	}
	canonical := []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery}
	for _, name := range strings.Split(headers, ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		canonical = append(canonical, name+":"+strings.TrimSpace(value))
	}
	canonical = append(canonical, "", headers, hexSum(body))
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", at, scope, hexSum([]byte(strings.Join(canonical, "\n")))}, "\n")
	sum := []byte("AWS4" + SecretKey)
	for _, part := range []string{day, region, service, "aws4_request", text} {
		sum = mac(sum, part)
	}
	if key != AccessKey || signature != hex.EncodeToString(sum) {
		return &refusal{http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"}
	}
	return nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
