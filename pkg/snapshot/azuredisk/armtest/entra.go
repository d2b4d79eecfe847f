package armtest

import (
	"fmt"
	"net/http"
	"strings"
)

// serveToken gives tokens to whoever knows the secret:
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		answer(w, http.StatusOK, map[string]any{
			"token_endpoint":         s.URL + "/" + Tenant + "/oauth2/v2.0/token",
			"authorization_endpoint": s.URL + "/" + Tenant + "/oauth2/v2.0/authorize",
			"issuer":                 s.URL + "/" + Tenant + "/v2.0",
		})
		return
	}
	if err := r.ParseForm(); err != nil || r.Form.Get("client_secret") != Secret || r.Form.Get("client_id") != Client {
		answer(w, http.StatusUnauthorized, map[string]any{
			"error":             "invalid_client",
			"error_description": "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the value.\r\nTrace ID: x",
		})
		return
	}
	if !strings.Contains(r.Form.Get("scope"), "https://management.core.windows.net/") {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_scope", "error_description": "AADSTS70011: The provided scope is not valid."})
		return
	}
	s.mu.Lock()
	s.serial++
	token := fmt.Sprintf("token-%d", s.serial)
	s.tokens[token] = true
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
}
