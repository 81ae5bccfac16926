"""What a platform fault replaces: a certificate and its key, one before the other, and whom brokers believe that start meanwhile."""

import ssl

import pytest

from faults.campaign.surroundings import ClientFiles


def authorities(files: ClientFiles) -> int:
    return files.believed.read_text().count("BEGIN CERTIFICATE")


def load(files: ClientFiles) -> None:
    ssl.create_default_context().load_cert_chain(files.certificate, files.key)


@pytest.mark.parametrize("first", ["certificate", "key"])
def test_a_pair_fits_again_once_both_files_are_replaced(tmp_path, first):
    files = ClientFiles(tmp_path, rotations=1)
    load(files)
    before = files.certificate.read_bytes()
    files.next_pair()
    files.replace(getattr(files, first))
    with pytest.raises(ssl.SSLError):
        load(files)
    for file in (files.certificate, files.key):
        files.replace(file)
    load(files)
    assert files.certificate.read_bytes() != before


def test_brokers_that_start_believe_only_what_is_still_to_come(tmp_path):
    files = ClientFiles(tmp_path, rotations=2)
    assert authorities(files) == 3
    files.next_pair()
    assert authorities(files) == 2
    files.next_pair()
    assert authorities(files) == 1


def test_the_plant_connects_with_these_files(tmp_path):
    files = ClientFiles(tmp_path, rotations=0)
    connection = files.connection("127.0.0.1:9093")
    assert "ssl_context" in connection.client_options()
    assert files.security.client_auth_required
