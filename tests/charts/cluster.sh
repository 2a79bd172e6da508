#!/usr/bin/env bash
# Asks the API server at KUBECONFIG: does it take every object of the charts, do Pods meet the `restricted` standard, and do
# the roles allow what the process does and nothing else? Called by run.sh --cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${KUBECONFIG:?is not set: tests/cluster/cluster up --apiserver, then export what it says}"
namespace=chart-test-$$ failed=0
trap 'kubectl delete namespace $namespace $namespace-a --wait=false >/dev/null; kubectl delete clusterrole,clusterrolebinding -l app.kubernetes.io/instance=$namespace >/dev/null 2>&1' EXIT
kubectl create namespace "$namespace" >/dev/null; kubectl create namespace "$namespace-a" >/dev/null
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted >/dev/null

install() { helm template "$namespace" charts/penstock --namespace "$namespace" "$@"; }
tickets=$(install -s templates/session-tickets.yaml | sed -n 's/^  name: //p')
dry_run() { # WHAT HELM-FLAGS...: every object, and no warning about a Pod
  local out; out=$(install "${@:2}" | kubectl apply --dry-run=server --warnings-as-errors -f - 2>&1) || { echo "$1 is refused: $out" >&2; failed=1; }
}
dry_run "the default"
# ServiceMonitor and PrometheusRule are no kinds of a plain API server.
dry_run everything -f tests/charts/everything.values.yaml --set metrics.serviceMonitor.enabled=false,metrics.prometheusRule.enabled=false
helm template crds charts/penstock-crds | kubectl apply --server-side --dry-run=server -f - >/dev/null || failed=1

may() { # yes|no VERB RESOURCE[/SUBRESOURCE][.GROUP] NAMESPACE [NAME]: by a review, because `auth can-i` does not know kinds not installed
  local answer group="" resource=$3 sub=""
  [[ $resource != *.* ]] || { group=${resource#*.}; resource=${resource%%.*}; }
  [[ $group != */* ]] || { sub=${group#*/}; group=${group%%/*}; }
  [[ $resource != */* ]] || { sub=${resource#*/}; resource=${resource%%/*}; }
  answer=$(kubectl create -o 'jsonpath={.status.allowed}' -f - <<E
{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
  "user": "system:serviceaccount:$namespace:$account", "groups": ["system:serviceaccounts", "system:authenticated"],
  "resourceAttributes": {"verb": "$2", "group": "$group", "resource": "$resource", "subresource": "$sub", "namespace": "$4", "name": "${5:-}"}}}
E
  )
  [[ ${answer:-false} == $([[ $1 == yes ]] && echo true || echo false) ]] \
    || { echo "$account: may it $2 $3 in $4? ${answer:-false}, expected $1" >&2; failed=1; }
}
rules() { # yes|no NAMESPACE: what is done in a namespace that is watched
  local r
  for r in services secrets configmaps endpointslices.discovery.k8s.io referencegrants.gateway.networking.k8s.io \
    applicationgateways.penstock.dev routingrules.penstock.dev; do may "$1" watch $r "$2"; done
  may "$1" get pods "$2"; may "$1" patch applicationgateways.penstock.dev/status "$2"; may "$1" create events.events.k8s.io "$2"
  may no update applicationgateways.penstock.dev/status "$2"; may no patch events.events.k8s.io "$2"
  for r in secrets configmaps pods deployments.apps applicationgateways.penstock.dev; do may no update $r "$2"; may no delete $r "$2"; done
  may no list pods "$2"; may no watch pods "$2"; may no create pods/exec "$2"
}
own() { # in the release's namespace
  local v; for v in create patch delete watch; do may yes $v services "$namespace"; done
  for v in get create update; do may yes $v leases.coordination.k8s.io "$namespace"; may no $v leases.coordination.k8s.io "$namespace-a"; done
  may no patch services "$namespace-a"; may no delete configmaps "$namespace"
  may yes update secrets "$namespace" "$tickets"; may no update secrets "$namespace" "$tickets-not"; may no create secrets "$namespace"
}

account=$namespace-all
install --set serviceAccount.name=$account | kubectl apply -f - >/dev/null
rules yes "$namespace-a"; rules yes default; own; may yes watch namespaces "$namespace"
install --set serviceAccount.name=$account | kubectl delete -f - >/dev/null 2>&1

account=$namespace-some
install --set serviceAccount.name=$account --set "watchNamespaces={$namespace-a}" | kubectl apply -f - >/dev/null
rules yes "$namespace-a"; rules no default; own; may no watch namespaces "$namespace"
# Events lie beside their objects, and none of those is here.
may no create events.events.k8s.io "$namespace"
may yes get namespaces "$namespace-a"; may no get namespaces default
exit $failed
