#!/usr/bin/env python3
"""gRPC through the built binary, with the client and the server of gRPC's own C core (grpcio): without TLS and with it, on either
side. Run by tests/grpc/run.sh, which sees to what it needs. BINARY says what is tested."""

import base64
import os
import queue
import socket
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

BINARY = os.environ.get("BINARY", "target/debug/penstock")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Echo(grpc.GenericRpcHandler):
    """Methods on bytes, so that no code has to be generated."""

    def service(self, details):
        def unary(request, context):
            metadata = dict(context.invocation_metadata())
            context.send_initial_metadata((("x-head", metadata.get("x-a", "")),))
            context.set_trailing_metadata((("x-trailer", "t"), ("x-left-bin", str(context.time_remaining()).encode())))
            return request

        def refuse(request, context):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u2713 now")

        def sleep(request, context):
            time.sleep(3)
            return request

        def bidi(requests, context):
            yield from requests

        def count(requests, context):
            return str(sum(len(r) for r in requests)).encode()

        name = details.method.rsplit("/", 1)[1]
        if name in ("Unary", "Refuse", "Sleep"):
            return grpc.unary_unary_rpc_method_handler({"Unary": unary, "Refuse": refuse, "Sleep": sleep}[name])
        if name == "Bidi":
            return grpc.stream_stream_rpc_method_handler(bidi)
        if name == "Count":
            return grpc.stream_unary_rpc_method_handler(count)
        return None


def serve(credentials):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    status = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection(("grpc.health.v1.Health", reflection.SERVICE_NAME), server)
    server.add_generic_rpc_handlers((Echo(),))
    where = "127.0.0.1:0"
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    server.start()
    return server, port, status


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def check(channel, status):
    unary = channel.unary_unary("/t.Echo/Unary")
    for message in (b"", b"hello", b"x" * 3_000_000):
        answer, call = unary.with_call(message, metadata=(("x-a", "1"),), timeout=20)
        assert answer == message, len(answer)
        assert dict(call.initial_metadata())["x-head"] == "1"
        trailers = dict(call.trailing_metadata())
        assert trailers["x-trailer"] == "t"
        # The deadline comes along (grpc-timeout, which the client rounds up).
        assert 0 < float(trailers["x-left-bin"]) < 25, trailers
    refused = code_of(lambda: channel.unary_unary("/t.Echo/Refuse")(b""))
    assert refused == (grpc.StatusCode.FAILED_PRECONDITION, "not \u2713 now"), refused
    assert code_of(lambda: channel.unary_unary("/t.Echo/Missing")(b""))[0] == grpc.StatusCode.UNIMPLEMENTED
    started = time.monotonic()
    late = code_of(lambda: channel.unary_unary("/t.Echo/Sleep")(b"", timeout=0.5))[0]
    assert late == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - started < 2.5
    assert channel.stream_unary("/t.Echo/Count")(iter([b"x" * 100_000] * 20)) == b"2000000"

    requests = queue.SimpleQueue()
    answers = channel.stream_stream("/t.Echo/Bidi")(iter(requests.get, None))
    for n in range(10):
        # Each is sent when the last one has come back.
        requests.put(str(n).encode())
        assert next(answers) == str(n).encode()
    requests.put(None)
    assert list(answers) == [] and answers.code() == grpc.StatusCode.OK

    stub = health_pb2_grpc.HealthStub(channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert stub.Check(health_pb2.HealthCheckRequest()).status == serving
    assert code_of(lambda: stub.Check(health_pb2.HealthCheckRequest(service="nobody")))[0] == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="w"))
    status.set("w", serving)
    seen = [next(watch).status]
    while seen[-1] != serving:
        seen.append(next(watch).status)
    status.set("w", not_serving)
    assert next(watch).status == not_serving
    watch.cancel()
    status.set("w", health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)

    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([listing])))
    assert "grpc.health.v1.Health" in [s.name for s in answer.list_services_response.service]


def main():
    folder = tempfile.TemporaryDirectory()
    path = lambda name: os.path.join(folder.name, name)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", path("key"),
         "-out", path("cert")], check=True, stderr=subprocess.DEVNULL)
    cert, key = (open(path(name), "rb").read() for name in ("cert", "key"))
    plain, plain_port, plain_status = serve(None)
    secure, secure_port, secure_status = serve(grpc.ssl_server_credentials([(key, cert)]))
    backends = {"plain": (plain_port, plain_status), "secure": (secure_port, secure_status)}
    ports = {f"{front}-{back}": free_port() for front in ("http", "https") for back in backends}
    ports["http-nobody"], admin, closed = free_port(), free_port(), free_port()
    text = {"cert": base64.b64encode(cert).decode(), "key": base64.b64encode(key).decode()}
    objects = [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: cert}\ntype: kubernetes.io/tls\n"
        "data: {tls.crt: %(cert)s, tls.key: %(key)s, ca.crt: %(cert)s}\n" % text,
        "apiVersion: penstock.dev/v1alpha1\nkind: ApplicationGateway\nmetadata: {name: grpc}\nspec:\n  listeners:\n"
        + "".join(
            f"  - {{name: {name}, port: {port}, protocol: "
            + ("HTTPS, tls: {certificateRefs: [{name: cert}]}}\n" if name.startswith("https") else "HTTP}\n")
            for name, port in ports.items())
        + "  backendSettings:\n  - {name: plain, protocol: H2C}\n  - {name: secure, protocol: HTTPS, probe: health, "
        "tls: {caCertificateRefs: [{kind: Secret, name: cert}], sniName: localhost}}\n"
        "  probes: [{name: health, grpc: {}, interval: 100ms, timeout: 5s}]\n",
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {name: down}\nspec:\n  gatewayRef: {name: grpc}\n"
        "  listeners: [http-nobody]\n  paths: [{paths: [/t.Down/*], backend: {services: [{name: down, port: 80}], settings: plain}}]\n",
    ]
    for name, port in [(name, port) for name, (port, _) in backends.items()] + [("down", closed)]:
        objects.append(f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n")
        objects.append(
            f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: {{kubernetes.io/service-name: "
            f"{name}}}}}\naddressType: IPv4\nports: [{{port: {port}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n")
        if name != "down":
            objects.append(
                f"apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}}}\nspec:\n  gatewayRef: {{name: grpc}}\n"
                f"  listeners: [http-{name}, https-{name}]\n  backend: {{services: [{{name: {name}, port: 80}}], settings: {name}}}\n")
    os.mkdir(path("manifests"))
    with open(path("manifests/all.yaml"), "w") as file:
        file.write("---\n".join(objects))
    gateway = subprocess.Popen(
        [BINARY, "run", "--manifests", path("manifests"), "--bind-address", "127.0.0.1", "--admin-address", f"127.0.0.1:{admin}",
         "--workers", "1"], stdout=subprocess.DEVNULL, stderr=open(path("log"), "w"))
    try:
        for name, port in ports.items():
            where = f"127.0.0.1:{port}"
            if name.startswith("https"):
                options = (("grpc.ssl_target_name_override", "localhost"),)
                channel = grpc.secure_channel(where, grpc.ssl_channel_credentials(cert), options)
            else:
                channel = grpc.insecure_channel(where)
            with channel:
                grpc.channel_ready_future(channel).result(timeout=30)
                if name == "http-nobody":
                    # What the gateway says itself.
                    assert code_of(lambda: channel.unary_unary("/t.Nobody/X")(b""))[0] == grpc.StatusCode.UNIMPLEMENTED
                    assert code_of(lambda: channel.unary_unary("/t.Down/X")(b""))[0] == grpc.StatusCode.UNAVAILABLE
                else:
                    check(channel, backends[name.split("-")[1]][1])
            print(f"grpc: {name} passed", flush=True)
        for _ in range(300):
            said = subprocess.run([BINARY, "status", "--admin", f"http://127.0.0.1:{admin}"], capture_output=True, text=True).stdout
            if sum(f"127.0.0.1:{port}" in line and "Up" in line for port in (plain_port, secure_port) for line in said.splitlines()) >= 2:
                print("grpc: probes passed")
                break
            time.sleep(0.1)  # Between two looks.
        else:
            raise AssertionError(f"the probes found no two servers Up:\n{said}")
    except BaseException:
        sys.stderr.write(open(path("log")).read()[-3000:])
        raise
    finally:
        gateway.kill()
        gateway.wait()
        plain.stop(0)
        secure.stop(0)


main()
