{{- /* Values that contradict each other, each with the sentence that says so. Types and ranges are values.schema.json's part. */ -}}
{{- define "redial.preflight" -}}
{{- $edge := .Values.edge -}}
{{- $problems := list -}}

{{- $front := .Values.front.upstreams -}}
{{- if and $front .Values.domains -}}
{{- $problems = append $problems "domains: front.upstreams names the domains; leave domains empty" -}}
{{- else if not (or $front .Values.domains) -}}
{{- $problems = append $problems "domains: name at least one SIP domain, such as --set 'domains={example.com}'" -}}
{{- end -}}
{{- $users := or .Values.users.htdigest .Values.users.existingSecret -}}
{{- if and .Values.users.htdigest .Values.users.existingSecret -}}
{{- $problems = append $problems "users: htdigest and existingSecret are both given; keep one" -}}
{{- end -}}
{{- if and $front (or .Values.open $users) -}}
{{- $problems = append $problems "front: the servers of front.upstreams know the users; leave open and users empty" -}}
{{- else if and .Values.open $users -}}
{{- $problems = append $problems "open: serves anybody, but users are given; keep one" -}}
{{- else if not (or $front .Values.open $users) -}}
{{- $problems = append $problems "users: give users.htdigest or users.existingSecret, or say open=true, because without users anybody can register anything" -}}
{{- end -}}

{{- $stores := compact (list .Values.redis.url .Values.redis.existingSecret (ternary "bundled" "" .Values.redis.bundled.enabled)) -}}
{{- if gt (len $stores) 1 -}}
{{- $problems = append $problems "redis: more than one of url, existingSecret and bundled.enabled is given; keep one" -}}
{{- end -}}
{{- if and (not $stores) (include "redial.severalCoordinators" .) -}}
{{- $problems = append $problems "redis: several coordinators share what they know in Redis; give redis.url or redis.existingSecret, for trying redis.bundled.enabled=true, or coordinator.replicas=1 without autoscaling, which forgets everything when its pod goes" -}}
{{- end -}}
{{- $tls := .Values.redis.tls -}}
{{- if and $tls.existingSecret (not .Values.redis.existingSecret) (not (hasPrefix "rediss://" .Values.redis.url)) -}}
{{- $problems = append $problems "redis.tls: certificates are for a Redis of your own by TLS; give redis.url=rediss://... or redis.existingSecret" -}}
{{- end -}}
{{- if and $tls.clientCertificate (not $tls.existingSecret) -}}
{{- $problems = append $problems "redis.tls.clientCertificate: name the Secret that holds it by redis.tls.existingSecret" -}}
{{- end -}}
{{- $tls = .Values.telemetry.tls -}}
{{- if and $tls.existingSecret (not (hasPrefix "https://" .Values.telemetry.otlpEndpoint)) -}}
{{- $problems = append $problems "telemetry.tls: certificates are for a collector by TLS; give telemetry.otlpEndpoint=https://..." -}}
{{- end -}}
{{- if and $tls.clientCertificate (not $tls.existingSecret) -}}
{{- $problems = append $problems "telemetry.tls.clientCertificate: name the Secret that holds it by telemetry.tls.existingSecret" -}}
{{- end -}}

{{- $deployed := include "redial.edgesAreDeployed" . -}}
{{- $advertise := include "redial.advertise" . -}}
{{- if and $edge.hostNetwork (eq $edge.service.type "LoadBalancer") -}}
{{- $problems = append $problems "edge.hostNetwork: phones reach the nodes themselves, so a LoadBalancer has no place; set edge.hostNetwork=false or edge.service.type=ClusterIP" -}}
{{- end -}}
{{- if and (not $deployed) $edge.autoscaling.enabled -}}
{{- $problems = append $problems "edge.autoscaling: a DaemonSet has one edge on each node; set edge.kind=Deployment to scale by load" -}}
{{- end -}}
{{- if and (eq $advertise "node") (not $edge.hostNetwork) -}}
{{- $problems = append $problems "edge.advertise: phones reach an edge at its node's address only with edge.hostNetwork=true" -}}
{{- end -}}
{{- if and (eq $advertise "service") (ne $edge.service.type "LoadBalancer") -}}
{{- $problems = append $problems "edge.advertise: only a Service of type LoadBalancer is given an address to tell phones; set edge.service.type=LoadBalancer, or give the address itself" -}}
{{- end -}}

{{- $names := list "admin" "peers" -}}
{{- $taken := dict "UDP" (list (int $edge.ports.peers)) "TCP" (list (int $edge.ports.admin)) -}}
{{- $transports := list -}}
{{- range $edge.listeners -}}
{{- if has .name $names -}}
{{- $problems = append $problems (printf "edge.listeners: %s is the name of another port" .name) -}}
{{- end -}}
{{- $protocol := ternary "UDP" "TCP" (eq .transport "udp") -}}
{{- if has (int .port) (get $taken $protocol) -}}
{{- $problems = append $problems (printf "edge.listeners: %s port %d of %s is taken by another listener or by edge.ports" $protocol (int .port) .name) -}}
{{- end -}}
{{- if and .nodePort (eq $edge.service.type "ClusterIP") -}}
{{- $problems = append $problems (printf "edge.listeners: %s has a nodePort, but edge.service.type is ClusterIP" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- $transports = append $transports .transport -}}
{{- $_ := set $taken $protocol (append (get $taken $protocol) (int .port)) -}}
{{- end -}}
{{- if and (has "tls" $transports) (not $edge.tls.secretName) -}}
{{- $problems = append $problems "edge.tls: a tls listener needs a certificate; name a Secret of type kubernetes.io/tls by edge.tls.secretName" -}}
{{- end -}}
{{- if and $edge.tls.secretName (not (has "tls" $transports)) -}}
{{- $problems = append $problems "edge.tls: no listener is for tls; add one to edge.listeners, or leave edge.tls.secretName empty" -}}
{{- end -}}
{{- if and $front (not (has "udp" $transports)) -}}
{{- $problems = append $problems "edge.listeners: the servers of front.upstreams are reached by UDP; give a udp listener, too" -}}
{{- end -}}
{{- $accounts := list $edge.serviceAccount .Values.coordinator.serviceAccount -}}
{{- if and (index $accounts 0).create (index $accounts 1).create (index $accounts 0).name (eq (index $accounts 0).name (index $accounts 1).name) -}}
{{- $problems = append $problems (printf "serviceAccount: edges and coordinators have rights of their own; give them two names instead of %s" (index $accounts 0).name) -}}
{{- end -}}

{{- range $part := list "edge" "coordinator" -}}
{{- $values := index $.Values $part -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- $problems = append $problems (printf "%s.autoscaling: minReplicas is greater than maxReplicas" $part) -}}
{{- end -}}
{{- if not (or $values.serviceAccount.create $values.serviceAccount.name) -}}
{{- $problems = append $problems (printf "%s.serviceAccount: none is made, and none is named; give its name, or create=true" $part) -}}
{{- end -}}
{{- range $name, $_ := $values.settings -}}
{{- if has $name (list "admin" "advertise" "advertise-service" "config" "coordinator" "coordinator-service" "credentials" "domain" "drain-delay" "edge-id" "grace" "listen" "log" "log-format" "mode" "open" "otlp-endpoint" "peer" "peer-listen" "peer-service" "policy" "policy-namespace" "redis" "redis-ca" "redis-cert" "redis-key" "replica-name" "secret-file" "tls-cert" "tls-key" "upstream" "upstream-path" "users") -}}
{{- $problems = append $problems (printf "%s.settings: --%s is set from other values of this chart" $part $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.networkPolicy.enabled $edge.hostNetwork (not .Values.networkPolicy.nodeCIDRs) -}}
{{- $problems = append $problems "networkPolicy.nodeCIDRs: edges with hostNetwork come from the nodes' addresses; name them, such as --set 'networkPolicy.nodeCIDRs={10.0.0.0/16}'" -}}
{{- end -}}

{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}
