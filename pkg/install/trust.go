package install

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// Annotations of service accounts, and a label of pods, by which clouds know whom to
// give which identity.
const (
	awsRoleAnnotation     = "eks.amazonaws.com/role-arn"
	gcpAccountAnnotation  = "iam.gke.io/gcp-service-account"
	azureClientAnnotation = "azure.workload.identity/client-id"
	azureUseLabel         = "azure.workload.identity/use"
)

// Trust tells a person how to have the cloud give an identity to the accounts of an
// installation that was given no credentials: policies and commands, in which words in
// capitals are still to be filled in. It is empty where no cloud is asked for one:
// with credentials, without a location, for a volume, and for an S3 server that isn't
// Amazon's.
func Trust(o Options) string {
	if o.Credentials != nil || o.Location == nil {
		return ""
	}
	provider, err := settings.Provider(o.Location.Provider)
	if err != nil {
		return ""
	}
	switch {
	case provider == settings.ProviderAWS && isAmazon(o.Location.Config["s3Url"]):
		return preamble(o) + trustAWS(o)
	case provider == settings.ProviderGCP:
		return preamble(o) + trustGCP(o)
	case provider == settings.ProviderAzure:
		return preamble(o) + trustAzure(o)
	}
	return ""
}

// isAmazon reports whether an endpoint, which may be empty, is one of AWS's own.
func isAmazon(endpoint string) bool {
	if endpoint == "" {
		return true
	}
	u, err := url.Parse(endpoint)
	return err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

// accountNames are those whose pods reach the storage.
func accountNames() []string { return []string{launch.ServiceAccount, launch.RestoreServiceAccount} }

func preamble(o Options) string {
	return fmt.Sprintf("No credentials were given: the cloud has to trust two service accounts of namespace %s, "+
		"%s (backups, deletion, chores) and %s (restores). Words in capitals are yours to fill in.\n", o.Namespace, launch.ServiceAccount, launch.RestoreServiceAccount)
}

func trustAWS(o Options) string {
	role := cmp.Or(o.ServiceAccountAnnotations[awsRoleAnnotation], "ROLE_ARN")
	var b strings.Builder
	fmt.Fprintf(&b, "\nIAM roles for service accounts (IRSA): the role %s needs this trust policy", role)
	if role == "ROLE_ARN" {
		fmt.Fprintf(&b, ", and the installation --sa-annotations %s=%s", awsRoleAnnotation, role)
	}
	fmt.Fprintf(&b, ".\n%s\nEKS Pod Identity, instead:\n", webIdentityPolicy(o.Namespace, role))
	for _, account := range accountNames() {
		fmt.Fprintf(&b, "  aws eks create-pod-identity-association --cluster-name CLUSTER --namespace %s --service-account %s --role-arn %s\n", o.Namespace, account, role)
	}
	fmt.Fprintf(&b, "\nkube2iam or kiam, instead: install with --pod-annotations iam.amazonaws.com/role=ROLE.\n")
	return b.String()
}

// webIdentityPolicy is the role's trust policy. Account and partition of the role are
// those of the provider of identities, as far as the role's name tells.
func webIdentityPolicy(namespace, role string) string {
	partition, account := "aws", "ACCOUNT"
	// arn:PARTITION:iam::ACCOUNT:role/NAME
	const fields = 6
	if parts := strings.SplitN(role, ":", fields); len(parts) == fields {
		partition, account = parts[1], parts[4]
	}
	subjects := make([]string, 0, len(accountNames()))
	for _, name := range accountNames() {
		subjects = append(subjects, subject(namespace, name))
	}
	body, err := indented(policy{Version: "2012-10-17", Statement: []statement{{
		Effect:    "Allow",
		Principal: map[string]string{"Federated": fmt.Sprintf("arn:%s:iam::%s:oidc-provider/OIDC_PROVIDER", partition, account)},
		Action:    "sts:AssumeRoleWithWebIdentity",
		Condition: map[string]map[string]any{"StringEquals": {
			"OIDC_PROVIDER:aud": "sts.amazonaws.com",
			"OIDC_PROVIDER:sub": subjects,
		}},
	}}})
	if err != nil {
		return "" // strings can always be encoded
	}
	return body
}

// policy is one of AWS's IAM, with its fields in the order in which people write them:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Effect    string
	Principal map[string]string
	Action    string
	Condition map[string]map[string]any
}

func indented(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return b.String(), err
}

// subject is how a service account is called in the tokens that clouds are shown.
func subject(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}

func trustGCP(o Options) string {
	account := o.ServiceAccountAnnotations[gcpAccountAnnotation]
	var b strings.Builder
	fmt.Fprintf(&b, "\nWorkload Identity Federation for GKE, where PROJECT is the cluster's:\n")
	for _, name := range accountNames() {
		fmt.Fprintf(&b, "  gcloud iam service-accounts add-iam-policy-binding %s --role roles/iam.workloadIdentityUser --member \"serviceAccount:PROJECT.svc.id.goog[%s/%s]\"\n",
			cmp.Or(account, "ACCOUNT@PROJECT.iam.gserviceaccount.com"), o.Namespace, name)
	}
	if account == "" {
		fmt.Fprintf(&b, "Install with --sa-annotations %s=ACCOUNT@PROJECT.iam.gserviceaccount.com for it.\n", gcpAccountAnnotation)
	}
	return b.String()
}

func trustAzure(o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMicrosoft Entra Workload ID:\n"+
		"  ISSUER=$(az aks show --name CLUSTER --resource-group GROUP --query oidcIssuerProfile.issuerUrl --output tsv)\n")
	for _, name := range accountNames() {
		fmt.Fprintf(&b, "  az identity federated-credential create --name %s-%s --identity-name IDENTITY --resource-group GROUP "+
			"--issuer \"$ISSUER\" --subject %s --audiences api://AzureADTokenExchange\n", o.Namespace, name, subject(o.Namespace, name))
	}
	var missing []string
	if o.ServiceAccountAnnotations[azureClientAnnotation] == "" {
		missing = append(missing, "--sa-annotations "+azureClientAnnotation+"=CLIENT_ID")
	}
	if o.PodLabels[azureUseLabel] != "true" {
		missing = append(missing, "--pod-labels "+azureUseLabel+"=true")
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "Install with %s for it.\n", strings.Join(missing, " "))
	}
	return b.String()
}
