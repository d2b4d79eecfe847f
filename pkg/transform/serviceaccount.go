package transform

import "strings"

// serviceAccount forgets the token Secret that Kubernetes before 1.24 made for
// the account: the Secret doesn't come back.
func serviceAccount(_ *Options, obj *Object) (Decision, error) {
	secrets, err := obj.EditList("secrets")
	if err != nil {
		return Decision{}, err
	}
	for i := len(secrets) - 1; i >= 0; i-- {
		ref, ok := secrets[i].(map[string]any)
		if ok && strings.HasPrefix(text(ref, "name"), obj.Name()+"-token-") {
			obj.SetList("secrets", append(secrets[:i:i], secrets[i+1:]...))
			break
		}
	}
	return Decision{}, nil
}
