# SPDX-License-Identifier: Apache-2.0
"""Certificates, tokens, and what may leave this machine in plaintext."""

import pathlib
import shutil
import subprocess
import time

import pytest

import helpers
import percentdelta as pd
from percentdelta._channel import make_channel
from percentdelta._security import Security

MAKE_CERTS = helpers.ROOT / "deploy/tls/make-certs"


def make_certs(folder, *options):
    """Runs deploy/tls/make-certs."""
    subprocess.run([MAKE_CERTS, folder, *options], check=True)
    return pathlib.Path(folder)


def files(folder, name):
    """The arguments of Client and Worker for a certificate."""
    return {"tls_ca": folder / "ca.pem", "tls_cert": folder / f"{name}.pem",
            "tls_key": folder / f"{name}.key"}


@pytest.fixture(name="certificates", scope="module")
def fixture_certificates(tmp_path_factory):
    """A folder with the certificates of two shards."""
    return make_certs(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(name="other", scope="module")
def fixture_other(tmp_path_factory):
    """The same of another CA."""
    return make_certs(tmp_path_factory.mktemp("other"))


def client_of(cluster, **options):
    """A client that does not try again."""
    return pd.Client(cluster.address, retry=pd.RetryPolicy(give_up_after=0), **options)


def test_a_training_over_tls_has_the_same_weights(job, percentdelta_cluster, certificates):
    with percentdelta_cluster(job) as plain:
        helpers.train(plain.address)
        with plain.client() as client:
            expected = client.checksum()
    with percentdelta_cluster(job, 2, certificates=certificates) as cluster:
        helpers.train(cluster.address, 2, **cluster.tls("worker"))
        with cluster.client() as client:
            assert client.status().state == "finished"
            assert client.checksum() == expected


def test_roles_are_those_of_the_certificates(job, percentdelta_cluster, certificates):
    with percentdelta_cluster(job, certificates=certificates) as cluster:
        with client_of(cluster, **files(certificates, "viewer")) as viewer:
            assert viewer.status().step == 0
            with pytest.raises(pd.ServerError, match="the role viewer may not call") as refused:
                viewer.weights()
            assert refused.value.code == "PERMISSION_DENIED"
        with pd.Worker(cluster.address, **files(certificates, "viewer")) as worker:
            assert worker.job.name == job.name
            with pytest.raises(pd.ServerError, match="viewer may not call .*/AcquireLease"):
                next(worker)


def test_says_what_is_wrong_with_a_connection(job, percentdelta_cluster, certificates, other):
    with percentdelta_cluster(job, certificates=certificates) as cluster:
        foreign = {**files(other, "operator"), "tls_ca": certificates / "ca.pem"}
        for options, message in (
                ({}, "expects TLS, and this is a plaintext client"),
                (files(other, "operator"), "is not signed by .*ca.pem"),
                (foreign, "refuses our certificate: .*operator.pem has expired, or is not signed")):
            with client_of(cluster, **options) as client:
                with pytest.raises(pd.UnavailableError, match=message):
                    client.status()
    with percentdelta_cluster(job) as plain:
        with client_of(plain, **files(certificates, "operator")) as client:
            with pytest.raises(pd.UnavailableError, match="speaks plaintext, and this is a client"):
                client.status()


def test_a_server_of_another_name_is_not_trusted(job, percentdelta_cluster, tmp_path):
    make_certs(tmp_path, "--hosts=127.0.0.1")
    with percentdelta_cluster(job, certificates=tmp_path) as cluster:
        address = cluster.address.replace("127.0.0.1", "localhost")
        with pd.Client(address, retry=pd.RetryPolicy(give_up_after=0),
                       **files(tmp_path, "viewer")) as client:
            with pytest.raises(pd.UnavailableError, match="certificate is not for localhost"):
                client.status()


def test_certificates_are_read_again_when_they_change(job, percentdelta_cluster, certificates,
                                                      other, tmp_path):
    for name in ("ca.pem", "viewer.pem", "viewer.key"):
        shutil.copy(other / name, tmp_path)
    with percentdelta_cluster(job, certificates=certificates) as cluster:
        with pd.Client(cluster.address, retry=pd.RetryPolicy(give_up_after=0),
                       **files(tmp_path, "viewer")) as client:
            with pytest.raises(pd.UnavailableError):
                client.status()
            for name in ("viewer.key", "viewer.pem", "ca.pem"):
                shutil.copy(certificates / name, tmp_path / "new")
                (tmp_path / "new").rename(tmp_path / name)
            give_up = time.monotonic() + 20
            while True:
                try:
                    assert client.status().step == 0
                    break
                except pd.UnavailableError:
                    assert time.monotonic() < give_up


def test_a_token_gives_a_role_on_loopback(job, percentdelta_cluster, tmp_path):
    tokens = {name: f"a-token-of-some-length-for-{name}" for name in ("server", "viewer")}
    table = tmp_path / "tokens"
    with table.open("w") as out:
        for name, token in tokens.items():
            (tmp_path / name).write_text(token + "\n")
            digest = subprocess.run(["sha256sum"], input=token.encode(), capture_output=True,
                                    check=True).stdout.decode().split()[0]
            print(f"{name} sha256:{digest}", file=out)
    (tmp_path / "wrong").write_text("a-token-that-no-server-has-stored\n")
    flags = [f"--token_file={table}", f"--own_token_file={tmp_path / 'server'}"]
    # LocalCluster's own client has no token: it gives up when it is refused.
    with pytest.raises(pd.ServerError, match="shows neither a certificate nor a token"):
        percentdelta_cluster(job, flags=flags)
    with percentdelta_cluster(job, flags=flags, token_file=tmp_path / "viewer") as cluster:
        with client_of(cluster, token_file=tmp_path / "viewer") as viewer:
            assert viewer.status().step == 0
            with pytest.raises(pd.ServerError, match="the role viewer may not call"):
                viewer.checksum()
        with client_of(cluster, token_file=tmp_path / "wrong") as stranger:
            with pytest.raises(pd.ServerError, match="token is not one of this server"):
                stranger.status()
        assert not any(token in cluster.log(0) for token in tokens.values())


@pytest.mark.parametrize("address", ("10.0.0.1:5000", "server:5000", "[2001:db8::1]:5000"))
def test_plaintext_does_not_leave_this_machine(address):
    for make in (pd.Client, pd.Worker):
        with pytest.raises(pd.InvalidArgumentError, match="is not a loopback address: expected"):
            make(address)
        make(address, insecure=True).close()


@pytest.mark.parametrize("address", ("127.0.0.1:5000", "127.1.2.3:5000", "localhost:5000",
                                     "[::1]:5000", "a.localhost.:5000", "[::ffff:127.0.0.1]:5000"))
def test_plaintext_reaches_loopback(address):
    make_channel(address).close()


def test_files_that_cannot_work_are_named(certificates, other, tmp_path):
    good = files(certificates, "worker")
    (tmp_path / "text").write_text("no token, for it has spaces")
    for options, message in (
            ({"tls_ca": good["tls_ca"]}, "tls_cert: expected a PEM file, got nothing"),
            ({**good, "tls_key": None}, "tls_key: expected a PEM file, got nothing"),
            ({**good, "tls_ca": None}, "tls_ca: expected a PEM file, got nothing"),
            ({**good, "tls_ca": tmp_path / "absent"}, "tls_ca: .*absent: No such file"),
            ({**good, "tls_key": other / "worker.key"}, "tls_key: .*got another one"),
            ({**good, "tls_cert": tmp_path / "text"}, "tls_cert: .*expected PEM files"),
            ({"token_file": tmp_path / "text"}, "token_file: .*expected one token"),
            ({"token_file": tmp_path / "absent"}, "token_file: .*No such file")):
        with pytest.raises(pd.InvalidArgumentError, match=message):
            Security(**options)


def test_a_token_needs_encryption_beyond_loopback(tmp_path):
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    security = Security(token_file=tmp_path / "token", insecure=True)
    with pytest.raises(pd.InvalidArgumentError, match="so that the token of token_file is"):
        security.check_address("address", "10.0.0.1:5000")
