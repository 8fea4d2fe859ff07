{{- /* An image: (list . "sip-edge" .Values.edge.image) */ -}}
{{- define "redial.image" -}}
{{- $root := index . 0 -}}
{{- $own := index . 2 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end -}}
{{- with $root.Values.image.repository }}{{ . }}/{{ end -}}
{{- index . 1 -}}
:{{ $own.tag | default $root.Values.image.tag | default $root.Chart.AppVersion -}}
{{- with $own.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- /* Liveness asks about the process alone: a Redis or coordinator that is away must not restart anything. */ -}}
{{- define "redial.probes" -}}
startupProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /ready, port: admin}
  periodSeconds: 3
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{- /* Where the pod is, for flags ($(POD_NAME)) and for every signal that is exported: (list . .Values.edge) */ -}}
{{- define "redial.env" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- if $root.Values.telemetry.otlpEndpoint }}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID),k8s.node.name=$(NODE_NAME)
    {{- range $key, $value := $root.Values.telemetry.resourceAttributes }},{{ $key }}={{ $value }}{{ end }}
{{- end }}
{{- with $root.Values.telemetry.tls }}
{{- if .existingSecret }}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /etc/redial/otlp/{{ .ca }}}
{{- if .clientCertificate }}
- {name: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, value: /etc/redial/otlp/tls.crt}
- {name: OTEL_EXPORTER_OTLP_CLIENT_KEY, value: /etc/redial/otlp/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- with $part.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Flags that every part has: (list . .Values.edge "where /metrics are served") */ -}}
{{- define "redial.commonArgs" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
- --admin={{ index . 2 }}:{{ $part.ports.admin }}
- --drain-delay={{ $part.drainDelaySeconds }}s
- --grace={{ $part.graceSeconds }}s
- --log={{ $root.Values.log.filter }}
- --log-format={{ $root.Values.log.format }}
{{- with $root.Values.telemetry.otlpEndpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
{{- range $name, $value := $part.settings }}
{{- /* toJson, because a number printed otherwise becomes 1e+06. */}}
- {{ printf "--%s=%s" $name (kindIs "string" $value | ternary $value (toJson $value)) | quote }}
{{- end }}
{{- end -}}

{{- /* Spread as given; else over nodes first, then zones, and a pod that finds no such place still runs. What does not say about whose pods it is, is about
this part's: (list . "edge" .Values.edge) */ -}}
{{- define "redial.spread" -}}
{{- $own := dict "matchLabels" (include "redial.selector" (list (index . 0) (index . 1)) | fromYaml) -}}
{{- $given := (index . 2).topologySpreadConstraints -}}
{{- if not $given -}}
{{- $soft := dict "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- $given = list (merge (dict "topologyKey" "kubernetes.io/hostname") $soft) (merge (dict "topologyKey" "topology.kubernetes.io/zone") $soft) -}}
{{- end -}}
{{- $all := list -}}
{{- range $given -}}
{{- $all = append $all (hasKey . "labelSelector" | ternary . (set (deepCopy .) "labelSelector" $own)) -}}
{{- end -}}
{{ toYaml $all }}
{{- end -}}

{{- /* Where a pod may run: (list . "edge" .Values.edge) */ -}}
{{- define "redial.placement" -}}
{{- $part := index . 2 -}}
{{- with $part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
