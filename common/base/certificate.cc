// SPDX-License-Identifier: Apache-2.0

#include "common/base/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxShownBytes = 200;

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

void FreeStack(STACK_OF(X509) * stack) { sk_X509_free(stack); }
using StackPtr = std::unique_ptr<STACK_OF(X509), Freer<FreeStack>>;

absl::Status Invalid(absl::string_view option, absl::string_view path, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", EscapeForLog(path, kMaxShownBytes), ": ", what));
}

BioPtr Open(absl::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Returns all certificates of a PEM text, in its order.
std::vector<X509Ptr> ReadAll(absl::string_view pem) {
  std::vector<X509Ptr> result;
  const BioPtr bio = Open(pem);
  while (X509* each = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    result.emplace_back(each);
  }
  ERR_clear_error();  // of the end of the text
  return result;
}

absl::StatusOr<X509Ptr> ReadFirst(absl::string_view pem) {
  std::vector<X509Ptr> all = ReadAll(pem);
  if (all.empty()) return absl::InvalidArgumentError("expected a PEM certificate, got none");
  return std::move(all.front());
}

absl::StatusOr<std::string> ReadFile(absl::string_view option, const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return Invalid(option, path, ErrnoMessage(errno));
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() > kMaxFileBytes) return Invalid(option, path, "expected at most 1 MiB, got more");
  return text;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string IpText(const ASN1_OCTET_STRING* bytes) {
  const unsigned char* at = ASN1_STRING_get0_data(bytes);
  const int size = ASN1_STRING_length(bytes);
  if (size == 4) return absl::StrJoin(at, at + size, ".");
  std::string text;
  for (int i = 0; i + 1 < size; i += 2) {
    absl::StrAppend(&text, i > 0 ? ":" : "", absl::Hex(at[i] << 8 | at[i + 1]));
  }
  return text;
}

std::string TextOf(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

Certificate Describe(const X509* x509) {
  Certificate result;
  result.not_before = TimeOf(X509_get0_notBefore(x509));
  result.not_after = TimeOf(X509_get0_notAfter(x509));
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509, NID_subject_alt_name, nullptr, nullptr)));
  int uris = 0;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) {
      result.spiffe_id = ++uris == 1 ? TextOf(name->d.uniformResourceIdentifier) : "";
    } else if (name->type == GEN_DNS) {
      result.names.push_back(TextOf(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      result.names.push_back(IpText(name->d.iPAddress));
    }
  }
  return result;
}

std::string Date(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

// Returns the reason why the chain is not signed by a CA, at any time; empty: it is.
std::string WrongWithChain(const std::vector<X509Ptr>& chain, const std::vector<X509Ptr>& cas) {
  const StorePtr store(X509_STORE_new());
  for (const X509Ptr& ca : cas) X509_STORE_add_cert(store.get(), ca.get());
  const StackPtr others(sk_X509_new_null());
  for (const X509Ptr& each : chain) sk_X509_push(others.get(), each.get());
  const StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), others.get());
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context.get()), X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(context.get()) == 1) return "";
  return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

absl::Status CheckTimes(const std::string& path, const Certificate& certificate, absl::Time now) {
  if (now > certificate.not_after) {
    return Invalid("tls_cert", path,
                   absl::StrCat("the certificate expired at ", Date(certificate.not_after),
                                "; replace it by a new one"));
  }
  if (now < certificate.not_before) {
    return Invalid("tls_cert", path,
                   absl::StrCat("the certificate is not valid before ",
                                Date(certificate.not_before), "; check this machine's clock"));
  }
  return absl::OkStatus();
}

}  // namespace

TlsFiles TlsFilesIn(const std::string& directory, const std::string& name) {
  return {absl::StrCat(directory, "/ca.pem"), absl::StrCat(directory, "/", name, ".pem"),
          absl::StrCat(directory, "/", name, ".key")};
}

absl::StatusOr<Certificate> ParseCertificate(absl::string_view pem) {
  ASSIGN_OR_RETURN(const X509Ptr x509, ReadFirst(pem));
  return Describe(x509.get());
}

absl::Status CheckCertificateName(absl::string_view pem, const std::string& host) {
  ASSIGN_OR_RETURN(const X509Ptr x509, ReadFirst(pem));
  if (X509_check_ip_asc(x509.get(), host.c_str(), 0) == 1) return absl::OkStatus();
  constexpr unsigned kFlags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  if (X509_check_host(x509.get(), host.data(), host.size(), kFlags, nullptr) == 1) {
    return absl::OkStatus();
  }
  const std::vector<std::string> names = Describe(x509.get()).names;
  return absl::PermissionDeniedError(absl::StrCat(
      "the server's certificate is for ", names.empty() ? "no host" : absl::StrJoin(names, ", "),
      ", not for ", host, "; use an address that it names, or add the name to the certificate"));
}

absl::Status CheckTlsFiles(const TlsFiles& files, bool needs_certificate, absl::Time now) {
  const bool has_certificate = !files.cert.empty() || !files.key.empty();
  for (const auto& [option, path] :
       {std::pair("tls_ca", files.ca), std::pair("tls_cert", files.cert),
        std::pair("tls_key", files.key)}) {
    const bool needed = needs_certificate || has_certificate || option == std::string("tls_ca");
    if (needed && path.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          option, ": expected a PEM file, got nothing; tls_ca, tls_cert and tls_key go together"));
    }
  }
  ASSIGN_OR_RETURN(const std::string ca_text, ReadFile("tls_ca", files.ca));
  const std::vector<X509Ptr> cas = ReadAll(ca_text);
  if (cas.empty()) return Invalid("tls_ca", files.ca, "expected a PEM certificate, got none");
  if (!has_certificate) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string cert_text, ReadFile("tls_cert", files.cert));
  const std::vector<X509Ptr> chain = ReadAll(cert_text);
  if (chain.empty()) return Invalid("tls_cert", files.cert, "expected a PEM certificate, got none");
  ASSIGN_OR_RETURN(const std::string key_text, ReadFile("tls_key", files.key));
  // Without a callback OpenSSL would ask for a passphrase on the terminal.
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  const KeyPtr key(PEM_read_bio_PrivateKey(Open(key_text).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return Invalid("tls_key", files.key, "expected an unencrypted PEM private key, got none");
  }
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return Invalid("tls_key", files.key,
                   absl::StrCat("expected the private key of ", files.cert, ", got another one"));
  }
  if (const std::string wrong = WrongWithChain(chain, cas); !wrong.empty()) {
    return Invalid("tls_cert", files.cert,
                   absl::StrCat("expected a certificate that ", files.ca, " has signed: ", wrong));
  }
  return CheckTimes(files.cert, Describe(chain.front().get()), now);
}

}  // namespace percentdelta
