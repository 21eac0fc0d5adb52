/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* decrypt MOUNT CIPHERTEXTS KEY: MOUNT is a mount of the directory CIPHERTEXTS, whose files are
 * encrypted with AES-128-CTR. Readers of MOUNT get the plain text, which is cached decrypted in
 * the mount's store. KEY: 32 hexadecimal digits. A file's first counter block is the first half of
 * the SHA-256 of its path, relative to the top: no two files share a key stream. To encrypt a file:
 *
 *   openssl enc -aes-128-ctr -K KEY -iv $(printf %s PATH | sha256sum | head -c 32)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <openssl/evp.h>
#include "lacuna/precontent.h"

enum { BLOCK = 16 };

struct vault {
	int directory;
	unsigned char key[BLOCK];
};

static struct lacuna_handler *handler;

static void on_signal(int number)
{
	lacuna_stop(handler);
}

/* The counter of the block in which `offset` lies, a multiple of BLOCK: big-endian addition. */
static int counter_at(const char *path, uint64_t offset, unsigned char counter[BLOCK])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	if (!EVP_Digest(path, strlen(path), hash, NULL, EVP_sha256(), NULL))
		return -EIO;
	memcpy(counter, hash, BLOCK);
	uint64_t carry = offset / BLOCK;
	for (int i = BLOCK - 1; i >= 0 && carry; i--) {
		uint64_t sum = counter[i] + (carry & 0xff);
		counter[i] = (unsigned char)sum;
		carry = (carry >> 8) + (sum >> 8);
	}
	return 0;
}

static int range_decrypt(EVP_CIPHER_CTX *c, int from, int to, off_t at, off_t end)
{
	unsigned char in[BLOCK * 1024], out[sizeof(in)];
	int n;
	while (at < end) {
		size_t want = end - at < (off_t)sizeof(in) ? (size_t)(end - at) : sizeof(in);
		if (pread(from, in, want, at) != (ssize_t)want) /* also if it has become shorter */
			return -EIO;
		if (!EVP_DecryptUpdate(c, out, &n, in, (int)want) || n != (int)want)
			return -EIO;
		if (pwrite(to, out, want, at) != (ssize_t)want)
			return -ENOSPC;
		at += (off_t)want;
	}
	return 0;
}

static int answer(void *user, const struct lacuna_request *r)
{
	const struct vault *v = user;
	unsigned char counter[BLOCK];
	off_t at = (off_t)r->offset, end = at + (off_t)r->length;
	if (end > (off_t)r->size)
		end = (off_t)r->size;
	int fd = openat(v->directory, r->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int error = -EIO;
	if (fd >= 0 && c && counter_at(r->path, r->offset, counter) == 0 &&
	    EVP_DecryptInit_ex(c, EVP_aes_128_ctr(), NULL, v->key, counter))
		error = range_decrypt(c, fd, r->fd, at, end);
	EVP_CIPHER_CTX_free(c);
	if (fd >= 0)
		close(fd);
	return error;
}

static int key_parse(const char *text, unsigned char key[BLOCK])
{
	int n = 0;
	for (int i = 0; i < BLOCK; i++)
		if (sscanf(text + n, "%2hhx", &key[i]) != 1 || strlen(text + n) < 2)
			return -1;
		else
			n += 2;
	return text[n] == '\0' ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct vault v;
	if (argc != 4 || key_parse(argv[3], v.key) != 0) {
		fprintf(stderr, "usage: decrypt MOUNT CIPHERTEXTS KEY\n");
		return 2;
	}
	v.directory = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v.directory < 0) {
		perror(argv[2]);
		return 1;
	}
	const struct lacuna_options options = {.size = sizeof(options), .name = "decrypt"};
	int r = lacuna_attach(argv[1], &options, &handler, NULL);
	if (r == 0) {
		signal(SIGTERM, on_signal);
		signal(SIGINT, on_signal);
		r = lacuna_mark(handler, LACUNA_MARK_ADD, LACUNA_MARK_MOUNT, NULL);
	}
	if (r == 0) {
		printf("ready\n");
		fflush(stdout);
		r = lacuna_loop(handler, 4, answer, &v);
	}
	/* as if lost: detaching would let readers see the cipher text */
	lacuna_close(handler, 1);
	if (r == 0 || r == -ECONNRESET)
		return 0;
	fprintf(stderr, "decrypt: %s\n", strerror(-r));
	return 1;
}
