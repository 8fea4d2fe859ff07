{{- /* What follows from the values, said once. */ -}}

{{- define "redial.any" -}}{{ ternary "[::]" "0.0.0.0" (eq .Values.ipFamily "IPv6") }}{{- end -}}

{{- /* An address of the pod as a URL or socket address spells it: (list . "POD_IP") */ -}}
{{- define "redial.host" -}}
{{- $root := index . 0 -}}
{{ printf (ternary "[$(%s)]" "$(%s)" (eq $root.Values.ipFamily "IPv6")) (index . 1) }}
{{- end -}}

{{- /* Port of the first UDP listener; empty without one. */ -}}
{{- define "redial.udpPort" -}}
{{- $port := "" -}}
{{- range reverse .Values.edge.listeners }}{{ if eq .transport "udp" }}{{ $port = .port }}{{ end }}{{ end -}}
{{- $port -}}
{{- end -}}

{{- define "redial.advertise" -}}
{{- if .Values.edge.advertise -}}{{ .Values.edge.advertise }}
{{- else if .Values.edge.hostNetwork -}}node
{{- else if eq .Values.edge.service.type "LoadBalancer" -}}service
{{- else -}}pod
{{- end -}}
{{- end -}}

{{- /* Non-empty when the edges know the users themselves. */ -}}
{{- define "redial.hasUsers" -}}{{- if not (or .Values.open .Values.front.upstreams) }}yes{{ end -}}{{- end -}}

{{- /* The domains, one a line. */ -}}
{{- define "redial.domains" -}}
{{- $domains := .Values.domains | default list -}}
{{- range .Values.front.upstreams }}{{ $domains = append $domains .domain }}{{ end -}}
{{ join "\n" (uniq $domains) }}
{{- end -}}

{{- /* Non-empty when there is a Redis. */ -}}
{{- define "redial.hasRedis" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret .Values.redis.bundled.enabled }}yes{{ end -}}
{{- end -}}

{{- /* The Secret with the URL of Redis. */ -}}
{{- define "redial.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}{{ .Values.redis.existingSecret }}
{{- else if .Values.redis.bundled.enabled -}}{{ include "redial.redis" . }}
{{- else -}}{{ include "redial.fullname" . }}-redis-url
{{- end -}}
{{- end -}}

{{- define "redial.redisKey" -}}{{ ternary .Values.redis.key "url" (ne .Values.redis.existingSecret "") }}{{- end -}}

{{- /* The port in a URL: (list URL default) */ -}}
{{- define "redial.port" -}}
{{- $host := (urlParse (index . 0)).host -}}
{{ regexFind ":[0-9]+$" $host | trimPrefix ":" | default (index . 1) }}
{{- end -}}

{{- /* True when more than one coordinator may run. */ -}}
{{- define "redial.severalCoordinators" -}}
{{- if or (gt (int .Values.coordinator.replicas) 1) .Values.coordinator.autoscaling.enabled }}yes{{ end -}}
{{- end -}}

{{- /* True when more than one edge may run. */ -}}
{{- define "redial.severalEdges" -}}
{{- if or (eq .Values.edge.kind "DaemonSet") (gt (int .Values.edge.replicas) 1) .Values.edge.autoscaling.enabled }}yes{{ end -}}
{{- end -}}

{{- define "redial.edgesAreDeployed" -}}{{- if eq .Values.edge.kind "Deployment" }}yes{{ end -}}{{- end -}}
