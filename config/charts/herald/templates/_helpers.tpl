{{/* The label app.kubernetes.io/name. */}}
{{- define "herald.name" -}}
{{- default "metallb" .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What names of objects begin with. */}}
{{- define "herald.fullname" -}}
{{- $name := include "herald.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if or (contains $name .Release.Name) (contains .Chart.Name .Release.Name) }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What a workload selects its pods by, and never changes: given a dict of root and component. */}}
{{- define "herald.selectorLabels" -}}
app.kubernetes.io/name: {{ include "herald.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of objects that belong to no component. */}}
{{- define "herald.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "herald.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels of a component's objects: given a dict of root and component. */}}
{{- define "herald.componentLabels" -}}
{{ include "herald.labels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The ServiceAccount of a component: given a dict of root and component. */}}
{{- define "herald.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount }}
{{- if $account.create }}
{{- default (printf "%s-%s" (include "herald.fullname" .root) .component) $account.name }}
{{- else }}
{{- default "default" $account.name }}
{{- end }}
{{- end }}

{{/* The Secret with the key of the speakers' gossip. */}}
{{- define "herald.memberlistSecret" -}}
{{- default (printf "%s-memberlist" (include "herald.fullname" .)) .Values.speaker.secretName }}
{{- end }}

{{/* The image of a component: given a dict of root and component. */}}
{{- define "herald.image" -}}
{{- $image := (index .root.Values .component).image }}
{{- if regexMatch "(^|/)metallb/(controller|speaker)$" $image.repository }}
{{- fail (printf "%s.image.repository is an image of MetalLB (%s): leave it out, or name one of Herald's" .component $image.repository) }}
{{- end }}
{{- printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) }}
{{- end }}

{{/* Flags that both programs take: given a dict of root, component and secret, that of the metrics' certificate. */}}
{{- define "herald.flags" -}}
- --port={{ .root.Values.prometheus.metricsPort }}
- --log-level={{ (index .root.Values .component).logLevel }}
{{- with .root.Values.loadBalancerClass }}
- --lb-class={{ . }}
{{- end }}
{{- with .root.Values.tls.minVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- with .root.Values.tls.cipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with .root.Values.tls.curvePreferences }}
- --tls-curve-preferences={{ . }}
{{- end }}
{{- if .secret }}
- --metrics-cert-dir=/etc/metrics-tls
{{- end }}
{{- end }}

{{/* Annotations by which some Prometheus servers find their targets. */}}
{{- define "herald.scrapeAnnotations" -}}
{{- if .Values.prometheus.scrapeAnnotations -}}
prometheus.io/scrape: "true"
prometheus.io/scheme: https
prometheus.io/port: {{ .Values.prometheus.metricsPort | quote }}
{{- end }}
{{- end }}

{{/* A probe of one of the health endpoints: given a dict of values, path, port and, if not the pod's address, host. */}}
{{- define "herald.probe" -}}
httpGet:
  {{- with .host }}
  host: {{ . }}
  {{- end }}
  path: {{ .path }}
  port: {{ .port }}
{{- range $setting, $value := omit .values "enabled" }}
{{ $setting }}: {{ $value }}
{{- end }}
{{- end }}

{{/* Where a pod may run and with what rank: given the component's values. */}}
{{- define "herald.placement" -}}
nodeSelector:
  {{- toYaml (merge dict .nodeSelector (dict "kubernetes.io/os" "linux")) | nindent 2 }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A rollout's parameters are those of its type, or are left out: given a strategy. */}}
{{- define "herald.strategy" -}}
type: {{ .type }}
{{- if eq .type "RollingUpdate" }}
{{- with .rollingUpdate }}
rollingUpdate:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* How full pools are, in percent, where that meets a condition: given a dict of condition and excludePools. */}}
{{- define "herald.poolUsage" -}}
{{- $pools := "" }}
{{- with .excludePools }}{{ $pools = printf "{pool!~%q}" . }}{{ end }}
{{- $condition := .condition }}
{{- range $i, $family := list "ipv4" "ipv6" }}
{{- if $i }}
or
{{ end -}}
label_replace(
  max without (instance, pod) (metallb_allocator_{{ $family }}_addresses_in_use_total{{ $pools }})
  / max without (instance, pod) (metallb_allocator_{{ $family }}_addresses_total{{ $pools }} > 0)
  * 100 {{ $condition }},
  "family", "{{ replace "ip" "IP" $family }}", "", ""
)
{{- end }}
{{- end }}
