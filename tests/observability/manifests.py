"""What the gateway serves. Objects are in namespace edge; hosts are NAME.example."""

# Probed so often that an alert need not wait for it; nothing else is out of the ordinary.
GATEWAY = """
apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {{name: shop, namespace: edge}}
spec:
  listeners:
  - {{name: http, port: {http}, protocol: HTTP}}
  - {{name: https, port: {https}, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}
  probes:
  - {{name: quick, path: /probe, interval: 100ms, timeout: 5s, unhealthyThreshold: 1}}
  backendPools:
  - {{name: named, addresses: [{{host: localhost, port: {backend}}}]}}
  backendSettings:
  - {{name: probed, probe: quick, webSocket: {{idleTimeout: 5m}}}}
  - {{name: impatient, probe: quick, webSocket: {{idleTimeout: 200ms}}}}
  # The default probe is too slow to know before the requests do.
  - {{name: unprobed, outlierDetection: {{baseEjectionTime: 100ms}}}}
  - {{name: limited, probe: quick, limits: {{maxConnections: 1, maxPendingRequests: 1}}}}
"""

RULE = """
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {{name: {name}, namespace: edge}}
spec:
  gatewayRef: {{name: shop}}
  hostNames: [{name}.example]
  backend: {{services: [{{name: {service}, port: 80}}], settings: {settings}}}
"""

# A backend by name, so that names are looked up: the hosts file has this one.
NAMED = """
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {{name: named, namespace: edge}}
spec:
  gatewayRef: {{name: shop}}
  hostNames: [named.example]
  backend: {{pool: named, settings: probed}}
"""

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: edge}}
spec: {{ports: [{{port: 80}}]}}
"""

# A slice has one port for all of its endpoints.
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{port}, namespace: edge, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""


def service(name, *ports):
    return "---".join([SERVICE.format(name=name), *(SLICE.format(name=name, port=port) for port in ports)])


def rule(name, service=None, settings="probed"):
    return RULE.format(name=name, service=service or name, settings=settings)
