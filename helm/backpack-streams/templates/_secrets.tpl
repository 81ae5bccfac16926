{{/* The keys of secrets that become files of a pod. Secrets appear only by name: their contents are never in a manifest. */}}

{{- define "backpack-streams.usesSasl" -}}
{{- if hasPrefix "SASL_" .Values.kafka.securityProtocol }}true{{ end -}}
{{- end -}}

{{- define "backpack-streams.usesTls" -}}
{{- if hasSuffix "SSL" .Values.kafka.securityProtocol }}true{{ end -}}
{{- end -}}

{{- define "backpack-streams.usesOauth" -}}
{{- if eq .Values.kafka.saslMechanism "OAUTHBEARER" }}true{{ end -}}
{{- end -}}

{{/* Files of `kafka.existingSecret`: setting (without `_file`) → key of the secret, as YAML. */}}
{{- define "backpack-streams.kafkaFiles" -}}
{{- $files := dict -}}
{{- $keys := .Values.kafka.secretKeys -}}
{{- if .Values.kafka.existingSecret -}}
{{- if include "backpack-streams.usesSasl" . -}}
{{- if include "backpack-streams.usesOauth" . -}}
{{- $_ := set $files "sasl_oauth_token" $keys.oauthToken -}}
{{- else -}}
{{- $_ := set $files "sasl_password" $keys.password -}}
{{- end -}}
{{- end -}}
{{- if include "backpack-streams.usesTls" . -}}
{{- if not .Values.kafka.caSecret.name -}}
{{- $_ := set $files "ssl_ca" $keys.ca -}}
{{- end -}}
{{- $_ := set $files "ssl_cert" $keys.cert -}}
{{- $_ := set $files "ssl_key" $keys.key -}}
{{- $_ := set $files "ssl_key_password" $keys.keyPassword -}}
{{- end -}}
{{- end -}}
{{- include "backpack-streams.given" $files -}}
{{- end -}}

{{/* Files of `kafka.caSecret`. */}}
{{- define "backpack-streams.kafkaCaFiles" -}}
{{- $files := dict -}}
{{- if and .Values.kafka.caSecret.name (include "backpack-streams.usesTls" .) -}}
{{- $_ := set $files "ssl_ca" .Values.kafka.caSecret.key -}}
{{- end -}}
{{- include "backpack-streams.given" $files -}}
{{- end -}}

{{/* Files of `schemaRegistry.existingSecret`. */}}
{{- define "backpack-streams.registryFiles" -}}
{{- $files := dict -}}
{{- $keys := .Values.schemaRegistry.secretKeys -}}
{{- if and .Values.schemaRegistry.url .Values.schemaRegistry.existingSecret -}}
{{- if $keys.username -}}
{{- $_ := set $files "schema_registry_password" $keys.password -}}
{{- end -}}
{{- $_ := set $files "schema_registry_ca" $keys.ca -}}
{{- $_ := set $files "schema_registry_cert" $keys.cert -}}
{{- $_ := set $files "schema_registry_key" $keys.key -}}
{{- $_ := set $files "schema_registry_key_password" $keys.keyPassword -}}
{{- end -}}
{{- include "backpack-streams.given" $files -}}
{{- end -}}

{{/* Files of the account's secret. */}}
{{- define "backpack-streams.accountFiles" -}}
{{- $files := dict -}}
{{- if .Values.accountProducer.enabled -}}
{{- $_ := set $files "private_key" .Values.accountProducer.secretKey -}}
{{- end -}}
{{- include "backpack-streams.given" $files -}}
{{- end -}}

{{/* The entries of a map that have a value, as YAML; `{}` if there is none. */}}
{{- define "backpack-streams.given" -}}
{{- $given := dict -}}
{{- range $name, $value := . -}}
{{- if $value -}}{{- $_ := set $given $name $value -}}{{- end -}}
{{- end -}}
{{- toYaml $given -}}
{{- end -}}

{{/* Every mounted secret of a pod: name of the volume → secret and files, as YAML. Takes `root`, `needs`. */}}
{{- define "backpack-streams.mounts" -}}
{{- $mounts := dict -}}
{{- $root := .root -}}
{{- if has "kafka" .needs -}}
{{- $_ := set $mounts "kafka" (dict "secret" $root.Values.kafka.existingSecret "files" (include "backpack-streams.kafkaFiles" $root | fromYaml)) -}}
{{- $_ := set $mounts "kafka-ca" (dict "secret" $root.Values.kafka.caSecret.name "files" (include "backpack-streams.kafkaCaFiles" $root | fromYaml)) -}}
{{- end -}}
{{- if has "registry" .needs -}}
{{- $_ := set $mounts "schema-registry" (dict "secret" $root.Values.schemaRegistry.existingSecret "files" (include "backpack-streams.registryFiles" $root | fromYaml)) -}}
{{- end -}}
{{- if has "account" .needs -}}
{{- $_ := set $mounts "account" (dict "secret" $root.Values.accountProducer.existingSecret "files" (include "backpack-streams.accountFiles" $root | fromYaml)) -}}
{{- end -}}
{{- if has "keys" .needs -}}
{{- $_ := set $mounts "gateway" (dict "secret" $root.Values.gateway.existingSecret "files" (dict "keys" $root.Values.gateway.secretKey)) -}}
{{- end -}}
{{- $used := dict -}}
{{- range $name, $mount := $mounts -}}
{{- if $mount.files -}}{{- $_ := set $used $name $mount -}}{{- end -}}
{{- end -}}
{{- toYaml $used -}}
{{- end -}}
