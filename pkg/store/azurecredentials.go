package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// The variables of an Azure credentials file, and of the environment.
const (
	azureCredentialsFile     = "AZURE_CREDENTIALS_FILE"
	azureSubscription        = "AZURE_SUBSCRIPTION_ID"
	azureResourceGroup       = "AZURE_RESOURCE_GROUP"
	azureCloudName           = "AZURE_CLOUD_NAME"
	azureTenant              = "AZURE_TENANT_ID"
	azureClient              = "AZURE_CLIENT_ID"
	azureSecret              = "AZURE_CLIENT_SECRET"
	azureCertificate         = "AZURE_CLIENT_CERTIFICATE"
	azureCertificatePath     = "AZURE_CLIENT_CERTIFICATE_PATH"
	azureCertificatePassword = "AZURE_CLIENT_CERTIFICATE_PASSWORD"
	azureSendChain           = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"
	azureUsername            = "AZURE_USERNAME"
	azurePassword            = "AZURE_PASSWORD"
	azureTenants             = "AZURE_ADDITIONALLY_ALLOWED_TENANTS"
	azureTokenFile           = "AZURE_FEDERATED_TOKEN_FILE"
	azureAuthority           = "AZURE_AUTHORITY_HOST"
)

// azureVariables are the variables of the credentials file. Without one, those of
// the environment take their place.
type azureVariables struct {
	file   string // empty: none
	values map[string]string
}

// readAzureVariables reads the credentials file: the one that the location's mount
// may have brought, else the one named in config, else the environment's.
func readAzureVariables(l Location, c settings.Azure) (azureVariables, error) {
	for _, candidate := range []struct {
		path, what string
		optional   bool
	}{
		{l.CredentialsFile, "credentials file", true},
		{c.CredentialsFile, "config key \"credentialsFile\"", false},
		{os.Getenv(azureCredentialsFile), azureCredentialsFile, false},
	} {
		if candidate.path == "" {
			continue
		}
		body, err := os.ReadFile(candidate.path)
		if candidate.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return azureVariables{}, fmt.Errorf("%s: %w", candidate.what, err)
		}
		values, err := parseVariables(string(body))
		if err != nil {
			return azureVariables{}, fmt.Errorf("%s %q: %w", candidate.what, candidate.path, err)
		}
		return azureVariables{candidate.path, values}, nil
	}
	return azureVariables{}, nil
}

// get is the variable of the file or, without a file, of the environment: so the
// secrets of two identities are never mixed.
func (v azureVariables) get(name string) string {
	if v.file == "" {
		return os.Getenv(name)
	}
	return v.values[name]
}

// find is for what is no secret: the file's value, else the environment's.
func (v azureVariables) find(name string) string {
	if value := v.values[name]; value != "" {
		return value
	}
	return os.Getenv(name)
}

// secrets are the values that must not be shown.
func (v azureVariables) secrets(keyVariable string) []string {
	var secrets []string
	for _, name := range []string{azureSecret, azureCertificatePassword, azurePassword, keyVariable} {
		if name != "" {
			secrets = append(secrets, v.get(name))
		}
	}
	return secrets
}

// source names where variables come from, for a person.
func (v azureVariables) source() string {
	if v.file == "" {
		return "environment"
	}
	return fmt.Sprintf("credentials file %q", v.file)
}

var assignment = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*[=:][ \t]*`)

// parseVariables reads NAME=VALUE lines as Velero does: a value may be in quotes,
// and then have several lines; in double quotes a backslash escapes; "#" starts a
// comment at the beginning of a line and, outside of quotes, after a space. Errors
// quote nothing of the file.
func parseVariables(text string) (map[string]string, error) {
	values := map[string]string{}
	all := strings.ReplaceAll(text, "\r\n", "\n")
	for rest := strings.TrimLeft(all, " \t\n"); rest != ""; rest = strings.TrimLeft(rest, " \t\n") {
		if rest[0] == '#' {
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		match := assignment.FindStringSubmatch(rest)
		if match == nil {
			line := 1 + strings.Count(all[:len(all)-len(rest)], "\n")
			return nil, fmt.Errorf("line %d is not of the form NAME=VALUE", line)
		}
		value, after, err := parseValue(rest[len(match[0]):])
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", match[1], err)
		}
		values[match[1]], rest = value, after
	}
	return values, nil
}

// parseValue splits a value from the lines that follow it.
func parseValue(text string) (value, rest string, err error) {
	if text == "" || text[0] != '"' && text[0] != '\'' {
		value, rest, _ = strings.Cut(text, "\n")
		if i := strings.Index(" "+value, " #"); i >= 0 {
			value = value[:max(0, i-1)]
		}
		return strings.TrimSpace(value), rest, nil
	}
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			_, rest, _ = strings.Cut(text[i+1:], "\n")
			return b.String(), rest, nil
		case c == '\\' && quote == '"' && i+1 < len(text):
			i++
			b.WriteString(unescape(text[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("its quote doesn't end")
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	default:
		return string(c)
	}
}
