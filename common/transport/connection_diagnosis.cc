// SPDX-License-Identifier: Apache-2.0

#include "common/transport/connection_diagnosis.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <ctime>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "common/base/descriptors.h"
#include "common/base/role.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr int kTimeoutMs = 1000;  // to connect, and of each read

using ContextPtr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using SslPtr = std::unique_ptr<SSL, decltype(&SSL_free)>;

// While it exists, a write to a closed connection is an error and not a signal: OpenSSL writes to
// sockets without MSG_NOSIGNAL, and a library must not change what signals do to a program.
class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlock() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    constexpr timespec kNow = {};
    while (sigtimedwait(&sigpipe_, nullptr, &kNow) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlock(const SigpipeBlock&) = delete;
  SigpipeBlock& operator=(const SigpipeBlock&) = delete;

 private:
  sigset_t sigpipe_;
  sigset_t before_;
};

// The host of HOST or HOST:PORT, without brackets and zone.
std::string HostOf(absl::string_view target) {
  const absl::StatusOr<HostPort> parsed = ParseHostPort("", target, 0);
  std::string host = parsed.ok() ? parsed->host : std::string(target);
  if (!host.empty() && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return host.substr(0, host.find('%'));
}

// Returns a connected socket whose reads and writes time out; an empty one if that failed.
UniqueDescriptor Connect(const HostPort& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &list) != 0) {
    return UniqueDescriptor();
  }
  const absl::Cleanup free_list = [list] { freeaddrinfo(list); };
  const timeval timeout = {kTimeoutMs / 1000, kTimeoutMs % 1000 * 1000L};
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    UniqueDescriptor socket(::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.ok()) continue;
    // On Linux a send timeout also limits connect().
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (connect(socket.get(), each->ai_addr, each->ai_addrlen) == 0) return socket;
  }
  return UniqueDescriptor();
}

ContextPtr MakeContext(const TlsFiles& files) {
  ContextPtr context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // The handshake goes on in any case; SSL_get_verify_result says what was wrong.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  if (!files.ca.empty()) SSL_CTX_load_verify_file(context.get(), files.ca.c_str());
  if (!files.cert.empty()) {
    SSL_CTX_use_certificate_chain_file(context.get(), files.cert.c_str());
    SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM);
  }
  const unsigned char protocols[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), protocols, sizeof(protocols));
  return context;
}

// What the last error of OpenSSL says of the other side.
enum class Answer { kNone, kNotTls, kAlert };
Answer LastAnswer() {
  Answer answer = Answer::kNone;
  while (const unsigned long error = ERR_get_error()) {  // NOLINT(google-runtime-int): OpenSSL's
    const int reason = ERR_GET_REASON(error);
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) continue;
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG) {
      answer = Answer::kNotTls;
    } else if (reason > SSL_AD_REASON_OFFSET) {
      answer = Answer::kAlert;
    }
  }
  return answer;
}

std::string PeerPem(const SSL* ssl) {
  X509* const peer = SSL_get0_peer_certificate(ssl);
  const std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  if (peer == nullptr || PEM_write_bio_X509(bio.get(), peer) != 1) return "";
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string Date(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

// What is wrong with the server's certificate, after a handshake; empty: nothing.
std::string WrongWithServer(const SSL* ssl, const std::string& address, const TlsFiles& files) {
  const std::string pem = PeerPem(ssl);
  const int64_t result = SSL_get_verify_result(ssl);
  const absl::StatusOr<Certificate> certificate = ParseCertificate(pem);
  if (!certificate.ok()) return "";
  if (result == X509_V_ERR_CERT_HAS_EXPIRED) {
    return absl::StrCat("the certificate of the server at ", address, " expired at ",
                        Date(certificate->not_after), "; replace it there");
  }
  if (result == X509_V_ERR_CERT_NOT_YET_VALID) {
    return absl::StrCat("the certificate of the server at ", address, " is not valid before ",
                        Date(certificate->not_before), "; check the clocks of both machines");
  }
  if (result != X509_V_OK) {
    return absl::StrCat("the certificate of the server at ", address, " is not signed by ",
                        files.ca, ", or is no server's: ", X509_verify_cert_error_string(result),
                        "; give the CA of this cluster by tls_ca");
  }
  const absl::Status checked = CheckServerCertificate(pem, address);
  return checked.ok() ? "" : std::string(checked.message());
}

// What is wrong with our certificate in the server's eyes. We see it only when we read: with
// TLS 1.3 the client's handshake ends before the server has seen the certificate. A server that
// accepts it begins with HTTP/2's settings; gRPC's ends the connection otherwise, without saying
// why.
std::string WrongWithClient(SSL* ssl, const std::string& address, const TlsFiles& files) {
  char byte = 0;
  const int read = SSL_read(ssl, &byte, 1);
  if (read > 0 || SSL_get_error(ssl, read) == SSL_ERROR_WANT_READ) return "";
  if (files.cert.empty()) {
    return absl::StrCat("the server at ", address,
                        " asks for a certificate; give tls_cert and tls_key");
  }
  const absl::Status ours = CheckTlsFiles(files, /*needs_certificate=*/true, absl::Now());
  return absl::StrCat("the server at ", address, " refuses our certificate: ",
                      ours.ok() ? absl::StrCat(files.cert, " is valid and signed by ", files.ca,
                                               ", so that the server has another CA")
                                : std::string(ours.message()));
}

}  // namespace

absl::Status CheckServerCertificate(absl::string_view pem, absl::string_view target) {
  RETURN_IF_ERROR(CheckCertificateName(pem, HostOf(target)));
  ASSIGN_OR_RETURN(const Certificate certificate, ParseCertificate(pem));
  const absl::StatusOr<Principal> principal = ParsePrincipal(certificate.spiffe_id);
  if (!principal.ok()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the server's certificate: ", principal.status().message()));
  }
  if (principal->role == Role::kServer) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "the server's certificate: expected one of the role server, got one of the role ",
      RoleName(principal->role), "; another program may have the server's port"));
}

std::string DiagnoseConnection(const std::string& address, const ClientSecurity& security) {
  if (absl::Status status = CheckSecurityOf("address", address, security); !status.ok()) {
    return std::string(status.message());
  }
  const absl::StatusOr<HostPort> parsed = ParseHostPort("", address);
  if (!parsed.ok()) return "";
  const UniqueDescriptor socket = Connect(*parsed);
  if (!socket.ok()) return "";
  const SigpipeBlock block;
  ERR_clear_error();
  const ContextPtr context = MakeContext(security.tls);
  const SslPtr ssl(SSL_new(context.get()), &SSL_free);
  SSL_set_fd(ssl.get(), socket.get());
  const bool shook_hands = SSL_connect(ssl.get()) == 1;
  const Answer answer = shook_hands ? Answer::kNone : LastAnswer();
  if (!security.tls.given()) {
    if (!shook_hands && (answer == Answer::kNone || answer == Answer::kNotTls)) return "";
    return absl::StrCat("the server at ", address,
                        " expects TLS, and this is a plaintext client; give tls_ca, tls_cert and "
                        "tls_key");
  }
  if (answer == Answer::kNotTls) {
    return absl::StrCat("the server at ", address,
                        " speaks plaintext, and this is a client with TLS; start the server with "
                        "tls_ca, tls_cert and tls_key");
  }
  if (!shook_hands) return "";
  const std::string wrong = WrongWithServer(ssl.get(), address, security.tls);
  return wrong.empty() ? WrongWithClient(ssl.get(), address, security.tls) : wrong;
}

}  // namespace percentdelta
