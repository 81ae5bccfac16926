{{/*
A value that is left empty, as `podAnnotations:` with everything below it commented out, means its default: Helm takes it for "delete the
default". Each template that is rendered begins with this. What is below a documented value (`resources.limits`) is the user's alone.
*/}}
{{- define "backpack-streams.fillValues" -}}
{{- $root := . -}}
{{- range $path, $default := .Files.Get "files/defaults.json" | fromJson -}}
{{- $words := splitList "." $path -}}
{{- $part := $root.Values -}}
{{- range initial $words -}}
{{- if not (kindIs "map" (get $part .)) -}}{{- $_ := set $part . dict -}}{{- end -}}
{{- $part = get $part . -}}
{{- end -}}
{{- if or (not (hasKey $part (last $words))) (kindIs "invalid" (get $part (last $words))) -}}
{{- $_ := set $part (last $words) $default -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Several maps of words as one, as YAML: of a name that comes twice the first one counts, and a name without a value is left out. */}}
{{- define "backpack-streams.words" -}}
{{- $words := dict -}}
{{- range . -}}
{{- range $name, $value := . -}}
{{- if not (or (hasKey $words $name) (kindIs "invalid" $value)) -}}{{- $_ := set $words $name (toString $value) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $words -}}{{- toYaml $words -}}{{- end -}}
{{- end -}}
