/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Ed25519 signatures (RFC 8032), by libcrypto.
 * Shape:  keys are PEM files, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`
 *         write them. A key is named by the SHA-256 of its public half as DER
 *         (SubjectPublicKeyInfo): `openssl pkey -pubin -in FILE -outform DER | sha256sum`
 * Errors: LOCAL_ERROR for a file that cannot be read, FETCH_USAGE for one that is no such key
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/digest.h"

#define SIGNATURE_SIZE 64u
#define KEYRING_KEYS 64u

struct signature {
	uint8_t bytes[SIGNATURE_SIZE];
};

/* A private key. An encrypted one is asked for its password, at the terminal. */
struct signer;
struct signer *signer_open(const char *path, GError **error);
void signer_free(struct signer *s);
void signer_sign(const struct signer *s, const void *text, size_t size, struct signature *out);
/* Is it a signature of this key? */
bool signer_signed(const struct signer *s, const void *text, size_t size,
                   const struct signature *signature);

/* Public keys, one behind the other in a file, at most KEYRING_KEYS: while a key is replaced by
 * another one, both are valid. Immutable. */
struct keyring;
struct keyring *keyring_open(const char *path, GError **error);
/* From what keyring_text() gave; `path` is for the error. */
struct keyring *keyring_parse(const char *text, const char *path, GError **error);
/* PEM, a key behind the other. Caller frees. NULL: no memory. */
char *keyring_text(const struct keyring *k);
void keyring_free(struct keyring *k);
/* Is it a signature of one of the keys? *key: the name of that one. */
bool keyring_check(const struct keyring *k, const void *text, size_t size,
                   const struct signature *signature, struct digest *key);
