// SPDX-License-Identifier: Apache-2.0

#include "tests/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace percentdelta {
namespace {

using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;

void Require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "certificates: %s\n", what.c_str());
  std::abort();
}

KeyPtr MakeKey() {
  KeyPtr key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  Require(key != nullptr, "no key");
  return key;
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  Require(extension != nullptr, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509Ptr Make(const std::string& subject, EVP_PKEY* key, const TestCa::Request& request) {
  static int64_t serial = 0;
  X509Ptr certificate(X509_new(), &X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate.get()), ++serial);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(request.not_before));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(request.not_after));
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
  return certificate;
}

// Writes with `write` to a temporary file, and renames it to `path`.
template <typename Write>
void Publish(const std::string& path, const Write& write) {
  const std::string temporary = path + ".tmp";
  std::FILE* const file = std::fopen(temporary.c_str(), "w");
  Require(file != nullptr && write(file) == 1 && std::fclose(file) == 0, path);
  std::filesystem::rename(temporary, path);
}

}  // namespace

struct TestCa::Impl {
  Impl() : key(MakeKey()), certificate(nullptr, &X509_free) {
    certificate = Make("test CA", key.get(), Request());
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
    AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
    AddExtension(certificate.get(), NID_key_usage, "critical,keyCertSign");
    Require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "not signed");
  }

  KeyPtr key;
  X509Ptr certificate;
};

TestCa::TestCa() : impl_(std::make_unique<Impl>()) {}
TestCa::~TestCa() = default;

void TestCa::WriteCa(const std::string& directory) const {
  Publish(directory + "/ca.pem",
          [&](std::FILE* file) { return PEM_write_X509(file, impl_->certificate.get()); });
}

void TestCa::Issue(const std::string& directory, const std::string& name,
                   const Request& request) const {
  const KeyPtr key = MakeKey();
  const X509Ptr certificate = Make(name, key.get(), request);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(impl_->certificate.get()));
  std::vector<std::string> names = request.hosts;
  if (!request.uri.empty()) names.push_back("URI:" + request.uri);
  if (!names.empty()) {
    AddExtension(certificate.get(), NID_subject_alt_name, absl::StrJoin(names, ","));
  }
  Require(X509_sign(certificate.get(), impl_->key.get(), EVP_sha256()) > 0, "not signed");
  const std::string path = absl::StrCat(directory, "/", name);
  Publish(path + ".key", [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  Publish(path + ".pem", [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); });
}

void TestCa::WriteAll(const std::string& directory, int shards) const {
  WriteCa(directory);
  for (int shard = 0; shard < shards; ++shard) {
    const std::string name = absl::StrCat("shard-", shard);
    Issue(directory, name, {UriOf("server", name)});
  }
  for (const char* role : {"worker", "operator", "viewer"}) {
    Issue(directory, role, {UriOf(role, role), {}});
  }
}

std::string UriOf(const std::string& role, const std::string& name) {
  return absl::StrCat("spiffe://percentdelta.test/percentdelta/", role, "/", name);
}

}  // namespace percentdelta
