package transform

import admissionv1 "k8s.io/api/admissionregistration/v1"

// webhookConfiguration makes side effects of webhooks what v1 accepts, which
// knows only two of the four values of v1beta1, and follows the namespaces of
// their services.
func webhookConfiguration(o *Options, obj *Object) (Decision, error) {
	webhooks, err := obj.EditList("webhooks")
	if err != nil {
		return Decision{}, err
	}
	for _, webhook := range elements(webhooks) {
		o.mapNamespace(child(webhook, "clientConfig", "service"))
		if obj.GroupVersionKind().Version != "v1" {
			continue
		}
		switch admissionv1.SideEffectClass(text(webhook, "sideEffects")) {
		case admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun:
		default:
			webhook["sideEffects"] = string(admissionv1.SideEffectClassNone)
		}
	}
	return Decision{}, nil
}
