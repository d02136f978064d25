package light

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// probeClient takes any certificate, as kubelets do, and keeps no connection.
var probeClient = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
}}

// environment is the container's own variables, and where the API server is.
func (r *runner) environment(ctx context.Context, spec *corev1.Container) ([]string, error) {
	env := []string{"KUBERNETES_SERVICE_HOST=" + apiServiceHost, "KUBERNETES_SERVICE_PORT=443", "HOSTNAME=" + r.pod.Name}
	for _, v := range spec.Env {
		value, present, err := r.value(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if present {
			env = append(env, v.Name+"="+expand(value, env))
		}
	}
	return env, nil
}

// apiServiceHost is the Service kubernetes, which the node's kube-proxy leads to the API server.
const apiServiceHost = "10.96.0.1"

func (r *runner) value(ctx context.Context, v corev1.EnvVar) (value string, present bool, err error) {
	switch from := v.ValueFrom; {
	case from == nil:
		return v.Value, true, nil
	case from.FieldRef != nil:
		value, err = r.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.SecretKeyRef != nil:
		secret, err := r.node.Client.CoreV1().Secrets(r.pod.Namespace).Get(ctx, from.SecretKeyRef.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) && optional(from.SecretKeyRef.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		data, ok := secret.Data[from.SecretKeyRef.Key]
		return string(data), ok, nil
	case from.ConfigMapKeyRef != nil:
		configMap, err := r.node.Client.CoreV1().ConfigMaps(r.pod.Namespace).Get(ctx, from.ConfigMapKeyRef.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) && optional(from.ConfigMapKeyRef.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		data, ok := configMap.Data[from.ConfigMapKeyRef.Key]
		return data, ok, nil
	}
	return "", false, fmt.Errorf("a light node knows values, fields, Secrets and ConfigMaps, not this source: %v", v.ValueFrom)
}

func optional(o *bool) bool { return o != nil && *o }

// field resolves a path of the downward API (kubernetes.io/docs/concepts/workloads/pods/downward-api).
func (r *runner) field(path string) (string, error) {
	if kind, key, ok := cutKey(path); ok {
		return map[string]map[string]string{"metadata.labels": r.pod.Labels, "metadata.annotations": r.pod.Annotations}[kind][key], nil
	}
	fields := map[string]string{
		"metadata.name":           r.pod.Name,
		"metadata.namespace":      r.pod.Namespace,
		"metadata.uid":            string(r.pod.UID),
		"spec.nodeName":           r.node.Name,
		"spec.serviceAccountName": r.pod.Spec.ServiceAccountName,
		"status.hostIP":           r.node.Addresses[0],
		"status.hostIPs":          strings.Join(r.node.Addresses, ","),
		"status.podIP":            r.ips[0],
		"status.podIPs":           strings.Join(r.ips, ","),
	}
	value, ok := fields[path]
	if !ok {
		return "", fmt.Errorf("no such field of a pod: %s", path)
	}
	return value, nil
}

// cutKey splits metadata.labels['KEY'].
func cutKey(path string) (kind, key string, ok bool) {
	kind, key, ok = strings.Cut(path, "['")
	return kind, strings.TrimSuffix(key, "']"), ok
}

// expand replaces $(NAME) by the variable's value; a name that is not known stays as it is.
func expand(text string, env []string) string {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		text = strings.ReplaceAll(text, "$("+name+")", value)
	}
	return text
}
