"""The API server over kept connections, one for each thread."""

import base64
import concurrent.futures
import http.client
import json
import os
import ssl
import tempfile
import threading
import urllib.parse

import yaml

PATHS = {
    "ApplicationGateway": "apis/penstock.dev/v1alpha1/namespaces/default/applicationgateways",
    "RoutingRule": "apis/penstock.dev/v1alpha1/namespaces/default/routingrules",
    "Service": "api/v1/namespaces/default/services",
    "EndpointSlice": "apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
}


class Api:
    def __init__(self, kubeconfig):
        with open(kubeconfig, encoding="utf-8") as file:
            config = yaml.safe_load(file)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = urllib.parse.urlparse(cluster["server"])
        self.tls = ssl.create_default_context(cafile=self._file(cluster, "certificate-authority"))
        self.tls.load_cert_chain(self._file(user, "client-certificate"), self._file(user, "client-key"))
        self.local = threading.local()

    @staticmethod
    def _file(section, name):
        """A path, or the data in a file."""
        if name in section:
            return section[name]
        handle, path = tempfile.mkstemp()
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64decode(section[f"{name}-data"]))
        return path

    def ask(self, method, path, body=None, content_type="application/json"):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(self.server.hostname, self.server.port, context=self.tls, timeout=60)
            self.local.connection = connection
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        connection.request(method, "/" + path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
        return json.loads(text)

    def create(self, *objects):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for _ in pool.map(lambda one: self.ask("POST", PATHS[one["kind"]], one), objects):
                pass

    def patch(self, kind, name, patch):
        self.ask("PATCH", f"{PATHS[kind]}/{name}", patch, "application/merge-patch+json")
