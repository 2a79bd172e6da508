"""What `helm template` makes of the charts: the objects, what they say, and what is refused."""

import json
import pathlib
import subprocess
import unittest

import yaml

HERE = pathlib.Path(__file__).parent
CHARTS = HERE.parent.parent / "charts"


def helm(chart, *args):
    return subprocess.run(
        ["helm", "template", "web", str(CHARTS / chart), "--namespace", "edge-system", *args],
        capture_output=True, text=True, check=False)


def render(values=None, *args, chart="penstock"):
    """The rendered objects, by (kind, namespace or "", name). `values`: a file of this folder."""
    files = ["-f", str(HERE / f"{values}.values.yaml")] if values else []
    done = helm(chart, *files, *args)
    assert done.returncode == 0, done.stderr
    objects = [o for o in yaml.safe_load_all(done.stdout) if o]
    found = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}
    assert len(found) == len(objects), "two objects with one name"
    return found


def of(objects, kind):
    found = [o for (k, _, _), o in objects.items() if k == kind]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}: {sorted(objects)}"
    return found[0]


def pod(objects, kind="Deployment"):
    return of(objects, kind)["spec"]["template"]["spec"]


def arguments(objects, kind="Deployment"):
    return pod(objects, kind)["containers"][0]["args"]


def rights(role):
    """Which verbs on which resources, by `resource.group` and by name where there is one."""
    found = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                names = "".join(f" {name}" for name in rule.get("resourceNames", []))
                key = f"{resource}.{group}".rstrip(".") + names
                assert key not in found, f"{key} stands twice"
                found[key] = rule["verbs"]
    return found


# What is done in a namespace that is watched, and in the release's own: the calls in crates/controller, no more.
WATCHED = {
    "applicationgateways.penstock.dev": ["get", "list", "watch"], "routingrules.penstock.dev": ["get", "list", "watch"],
    "applicationgateways/status.penstock.dev": ["patch"], "routingrules/status.penstock.dev": ["patch"],
    "services": ["list", "watch"], "endpointslices.discovery.k8s.io": ["list", "watch"],
    "referencegrants.gateway.networking.k8s.io": ["list", "watch"],
    "secrets": ["get", "list", "watch"], "configmaps": ["get", "list", "watch"],
    "pods": ["get"], "events.events.k8s.io": ["create"],
}
OWN = {
    "leases.coordination.k8s.io": ["get", "create", "update"], "configmaps web-penstock-owner": ["get"],
    "secrets web-penstock-session-tickets": ["list", "watch", "update"],
}
OWN_SERVICES = {"services": ["list", "watch", "create", "patch", "delete"]}


def environment(objects, kind="Deployment"):
    return {e["name"]: e.get("value") for e in pod(objects, kind)["containers"][0]["env"]}


class Defaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.objects = render()

    def test_objects(self):
        self.assertEqual(
            sorted(kind for kind, _, _ in self.objects),
            ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "PodDisruptionBudget", "Role", "RoleBinding",
             "Secret", "Service", "ServiceAccount"])

    def test_every_namespaced_object_names_the_releases_namespace(self):
        for kind, namespace, name in self.objects:
            self.assertEqual(namespace, "" if kind.startswith("Cluster") else "edge-system", (kind, name))

    def test_arguments(self):
        self.assertEqual(arguments(self.objects), [
            "run", "--class=penstock", "--gateway-service=own", "--drain-delay=15s", "--drain-timeout=30s",
            "--proxy-protocol=off", "--access-log=json", "--log-format=json", "--snapshot-dir=/var/run/penstock"])

    def test_environment_names_selector_and_owner_that_exist(self):
        env = environment(self.objects)
        selector = dict(pair.split("=") for pair in env["PENSTOCK_POD_SELECTOR"].split(","))
        workload = of(self.objects, "Deployment")["spec"]
        self.assertEqual(selector, workload["selector"]["matchLabels"])
        self.assertLessEqual(selector.items(), workload["template"]["metadata"]["labels"].items())
        self.assertEqual(env["PENSTOCK_OWNER"], of(self.objects, "ConfigMap")["metadata"]["name"])
        self.assertEqual(json.loads(env["PENSTOCK_SERVICE_DEFAULTS"]), {"type": "LoadBalancer"})
        fields = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"]
                  for e in pod(self.objects)["containers"][0]["env"] if "valueFrom" in e}
        self.assertEqual(fields, {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_IPS": "status.podIPs"})

    def test_a_rollout_takes_no_pod_away_before_another_is_ready(self):
        self.assertEqual(of(self.objects, "Deployment")["spec"]["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
        self.assertEqual(of(self.objects, "Deployment")["spec"]["replicas"], 2)
        self.assertEqual(of(self.objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1)

    def test_restricted(self):
        context = pod(self.objects)["securityContext"]
        self.assertEqual(context, {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
                                   "seccompProfile": {"type": "RuntimeDefault"}})
        self.assertEqual(pod(self.objects)["containers"][0]["securityContext"],
                         {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})

    def test_what_was_read_last_is_kept_in_memory(self):
        container = pod(self.objects)["containers"][0]
        self.assertEqual(container["volumeMounts"], [{"name": "snapshot", "mountPath": "/var/run/penstock"}])
        self.assertIn("--snapshot-dir=/var/run/penstock", container["args"])
        self.assertEqual(pod(self.objects)["volumes"], [{"name": "snapshot", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}])

    def test_probes_and_scraping_reach_the_admin_port(self):
        container = pod(self.objects)["containers"][0]
        self.assertEqual(container["ports"], [{"name": "admin", "containerPort": 9090, "protocol": "TCP"}])
        paths = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
        self.assertEqual(paths, {"startup": {"path": "/healthz", "port": "admin"}, "readiness": {"path": "/readyz", "port": "admin"},
                                 "liveness": {"path": "/healthz", "port": "admin"}})
        service = of(self.objects, "Service")["spec"]
        self.assertEqual((service["type"], service["ports"][0]["port"], service["ports"][0]["targetPort"]), ("ClusterIP", 9090, "admin"))
        self.assertEqual(service["selector"], of(self.objects, "Deployment")["spec"]["selector"]["matchLabels"])

    def test_spread_over_zones_and_nodes(self):
        self.assertEqual([c["topologyKey"] for c in pod(self.objects)["topologySpreadConstraints"]],
                         ["topology.kubernetes.io/zone", "kubernetes.io/hostname"])

    def test_no_disruption_at_all_can_be_asked_for(self):
        for value, expected in [("0", 0), ("25%", "25%"), ("null", 1)]:
            objects = render(None, "--set", f"podDisruptionBudget.maxUnavailable={value}")
            self.assertEqual(of(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], expected, value)

    def test_session_tickets_have_a_secret_without_data_of_its_own(self):
        secret = of(self.objects, "Secret")
        self.assertEqual(environment(self.objects)["PENSTOCK_TICKET_SECRET"], secret["metadata"]["name"])
        # An upgrade would put back what stands here.
        self.assertNotIn("data", secret)
        self.assertNotIn("stringData", secret)

    def test_rights(self):
        self.assertEqual(rights(of(self.objects, "ClusterRole")), WATCHED | {"namespaces": ["list", "watch"]})
        self.assertEqual(rights(of(self.objects, "Role")), OWN | OWN_SERVICES)


class Drain(unittest.TestCase):
    def test_grace_period_is_delay_plus_timeout_plus_five_seconds(self):
        for delay, timeout, seconds in [("15s", "30s", 50), ("0s", "0s", 5), ("500ms", "1h", 3606), ("1m30s", "1h30m", 5495)]:
            objects = render(None, "--set", f"drain.delay={delay},drain.timeout={timeout}")
            self.assertEqual(pod(objects)["terminationGracePeriodSeconds"], seconds, (delay, timeout))

    def test_a_longer_grace_period_is_taken_and_a_shorter_refused(self):
        self.assertEqual(pod(render(None, "--set", "terminationGracePeriodSeconds=51"))["terminationGracePeriodSeconds"], 51)
        refused = helm("penstock", "--set", "terminationGracePeriodSeconds=49")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("terminationGracePeriodSeconds is 49, but drain.delay (15s) + drain.timeout (30s) + 5 seconds are 50", refused.stderr)


class Everything(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.objects = render("everything")

    def test_arguments(self):
        self.assertEqual(arguments(self.objects), [
            "run", "--class=edge", "--gateway-service=own", "--drain-delay=1m", "--drain-timeout=1h30m", "--drain-spread=90s500ms",
            "--proxy-protocol=optional", "--access-log=off", "--access-log-sample=0.05", "--otlp-endpoint=http://collector.edge:4318", "--trace-sample=0.25", "--log-format=text", "--trusted-proxies=10.0.0.0/8,2001:db8::/32",
            "--workers=4", "--allow-external-name", "--metrics-per-rule", "--bind-address=::"])

    def test_environment(self):
        env = environment(self.objects)
        self.assertEqual(json.loads(env["PENSTOCK_SERVICE_DEFAULTS"]), {
            "type": "NodePort", "annotations": {"example.com/internal": "true"}, "externalTrafficPolicy": "Local"})
        self.assertEqual((env["RUST_LOG"], env["EXTRA"]), ("info,penstock=debug", "1"))

    def test_the_autoscaler_owns_the_replicas(self):
        self.assertNotIn("replicas", of(self.objects, "Deployment")["spec"])
        scaler = of(self.objects, "HorizontalPodAutoscaler")["spec"]
        self.assertEqual((scaler["minReplicas"], scaler["maxReplicas"]), (3, 9))
        self.assertEqual({m["resource"]["name"]: m["resource"]["target"]["averageUtilization"] for m in scaler["metrics"]},
                         {"cpu": 70, "memory": 80})
        self.assertEqual(scaler["scaleTargetRef"]["name"], of(self.objects, "Deployment")["metadata"]["name"])

    def test_the_service_monitor_selects_the_admin_service(self):
        monitor = of(self.objects, "ServiceMonitor")
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")
        service = of(self.objects, "Service")
        self.assertLessEqual(monitor["spec"]["selector"]["matchLabels"].items(), service["metadata"]["labels"].items())
        self.assertEqual(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"])
        # The label `endpoint` of the metrics must not lose against the operator's.
        self.assertTrue(monitor["spec"]["endpoints"][0]["honorLabels"])

    def test_the_alerts_are_those_of_the_rule_file_without_the_disabled_one(self):
        rule = of(self.objects, "PrometheusRule")
        self.assertEqual(rule["metadata"]["labels"]["release"], "prometheus")
        groups = yaml.safe_load((CHARTS.parent / "deploy/alerts/penstock.rules.yaml").read_text())["groups"]
        for group in groups:
            group["rules"] = [one for one in group["rules"] if one["alert"] != "PenstockWebSocketsIdle"]
        self.assertEqual(rule["spec"]["groups"], groups)

    def test_the_network_policy_lets_the_listeners_local_ports_in(self):
        policy = of(self.objects, "NetworkPolicy")["spec"]
        self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
        self.assertEqual(policy["ingress"][0], {"ports": [{"protocol": "TCP", "port": 10000, "endPort": 19999}]})
        self.assertEqual(policy["ingress"][1]["ports"], [{"protocol": "TCP", "port": "admin"}])

    def test_pod_settings(self):
        spec = pod(self.objects)
        self.assertEqual((spec["nodeSelector"], spec["priorityClassName"], spec["serviceAccountName"]),
                         ({"pool": "edge"}, "system-cluster-critical", "edge-account"))
        self.assertEqual(spec["containers"][0]["image"], "localhost/penstock:dev")
        self.assertEqual(of(self.objects, "PodDisruptionBudget")["spec"]["minAvailable"], "50%")


class Namespaces(unittest.TestCase):
    def test_roles_only(self):
        objects = render("namespaces")
        self.assertFalse([k for k in objects if k[0].startswith("Cluster")])
        self.assertEqual(sorted(namespace for kind, namespace, _ in objects if kind == "RoleBinding"), ["chat", "edge-system", "shop"])
        self.assertEqual([a for a in arguments(objects) if "namespace" in a], ["--watch-namespace=shop", "--watch-namespace=chat"])
        for (kind, namespace, _), role in objects.items():
            if kind == "Role":
                expected = OWN | OWN_SERVICES if namespace == "edge-system" else WATCHED | {"namespaces": ["get"]}
                self.assertEqual(rights(role), expected)


class BareMetal(unittest.TestCase):
    def test_host_ports_and_no_service_of_its_own(self):
        objects = render("bare-metal")
        daemon = of(objects, "DaemonSet")["spec"]
        self.assertEqual(daemon["updateStrategy"]["rollingUpdate"], {"maxUnavailable": 1, "maxSurge": 0})
        self.assertNotIn("topologySpreadConstraints", pod(objects, "DaemonSet"))
        self.assertEqual([p["hostPort"] for p in pod(objects, "DaemonSet")["containers"][0]["ports"] if "hostPort" in p], [80, 443])
        self.assertEqual(pod(objects, "DaemonSet")["securityContext"]["sysctls"], [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}])
        self.assertIn("--publish-service=edge/front", arguments(objects, "DaemonSet"))
        self.assertEqual(environment(objects, "DaemonSet")["PENSTOCK_OWNER"], of(objects, "ConfigMap")["metadata"]["name"])
        self.assertEqual(rights(objects["Role", "edge-system", "web-penstock"]), OWN)
        self.assertEqual(rights(objects["Role", "edge", "edge-system-web-penstock-publish"]), {"services front": ["get"]})

    def test_the_published_service_may_be_read_where_all_namespaces_are_watched(self):
        objects = render("bare-metal", "--set", "watchNamespaces=null")
        self.assertEqual(rights(objects["Role", "edge", "edge-system-web-penstock-publish"]), {"services front": ["get"]})


class Refused(unittest.TestCase):
    def test_what_does_not_go_together(self):
        for settings, message in [
            ("hostPorts={80}", "hostPorts need gatewayService: shared"),
            ("publishService=a/b", "publishService needs gatewayService: shared"),
            ("autoscaling.enabled=true,kind=DaemonSet", "autoscaling.enabled needs kind: Deployment"),
            ("autoscaling.enabled=true,autoscaling.minReplicas=20", "autoscaling.minReplicas (20) is above"),
            ("drain.spread=31s", "drain.spread (31s) is longer than drain.timeout (30s)"),
            ("drain.delay=15", "drain/delay"),
            ("gatewayService=both", "gatewayService"),
            ("replicas=3", "additional properties 'replicas' not allowed"),
            ("image.name=x", "additional properties 'name' not allowed"),
            ("trustedProxies={10.0.0.1}", "trustedProxies"),
            ("tracing.endpoint=collector:4317", "tracing/endpoint"),
            ("tracing.sample=2", "tracing/sample"),
            ("metrics.prometheusRule.enabled=true,metrics.prometheusRule.disabled={PenstockIdle}", "there is no alert PenstockIdle"),
        ]:
            refused = helm("penstock", "--set", settings)
            self.assertNotEqual(refused.returncode, 0, settings)
            self.assertIn(message, refused.stderr, settings)


class Definitions(unittest.TestCase):
    def test_both_are_there_and_kept_on_uninstall(self):
        objects = render(chart="penstock-crds")
        self.assertEqual(sorted(name for _, _, name in objects), ["applicationgateways.penstock.dev", "routingrules.penstock.dev"])
        for definition in objects.values():
            self.assertEqual(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
            generated = CHARTS.parent / "crds" / f"{definition['spec']['names']['plural']}.yaml"
            self.assertEqual(definition["spec"], yaml.safe_load(generated.read_text())["spec"])
        for definition in render(None, "--set", "keep=false", chart="penstock-crds").values():
            self.assertNotIn("helm.sh/resource-policy", definition["metadata"].get("annotations", {}))

    def test_versions_of_the_charts_agree(self):
        versions = {(c["version"], c["appVersion"]) for c in
                    (yaml.safe_load((CHARTS / name / "Chart.yaml").read_text()) for name in ("penstock", "penstock-crds"))}
        self.assertEqual(len(versions), 1, versions)


if __name__ == "__main__":
    unittest.main()
