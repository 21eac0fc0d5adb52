/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/publish.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/index/frame.h"
#include "fetch/index/index.h"
#include "fetch/publish/hash.h"
#include "fetch/publish/image.h"
#include "fetch/publish/objects.h"
#include "fetch/publish/output.h"
#include "fetch/publish/reuse.h"
#include "fetch/publish/walk.h"
#include "fetch/publish/writer.h"

struct publishing {
	const struct publish_options *options;
	int root;              /* owned: the tree */
	struct signer *signer; /* owned; NULL: none */
	struct reuse *reuse;   /* owned; NULL: none */
	struct output *output;
	struct objects *objects; /* NULL: no packs */
	bool sealed;             /* the index has its root */
	struct plan *plan;
	struct hash_counts counts;
	struct index_tail tail;
	struct publish_progress progress;
};

static bool tell(struct publishing *p)
{
	if (p->plan != NULL) {
		p->progress.files =
		        p->progress.step == PUBLISH_LOOKING ? p->plan->files : p->plan->data_files;
		p->progress.bytes = p->plan->bytes;
	}
	return p->options->goes_on == NULL || p->options->goes_on(p->options->user, &p->progress);
}

static bool step(struct publishing *p, enum publish_step step, GError **error)
{
	p->progress.step = step;
	if (tell(p))
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_CANCELLED, "interrupted");
	return false;
}

static bool walked(void *user)
{
	return tell(user);
}

static bool hashed(void *user, const struct hash_counts *so_far)
{
	struct publishing *p = user;
	p->progress.hashed = so_far->bytes;
	p->progress.hashed_files = so_far->files;
	p->progress.kept = so_far->kept_bytes;
	p->progress.kept_files = so_far->kept_files;
	return tell(p);
}

static bool piece_digest(int fd, uint64_t at, uint64_t size, uint8_t *buffer, struct digest *out,
                         GError **error)
{
	for (uint64_t got = 0; got < size;) {
		ssize_t n = pread(fd, buffer + got, size - got, (off_t)(at + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return writer_fail(error, "reading the index back");
		got += (uint64_t)n;
	}
	digest_of(buffer, size, out);
	return true;
}

/* Leaves, tail and root, of the file as it is read back. */
static bool leaves_write(struct publishing *p, int fd, struct digest *root, GError **error)
{
	const struct index_tail *t = &p->tail;
	uint64_t count = (t->leaves + DIGEST_BLOCK - 1) / DIGEST_BLOCK;
	g_autofree uint8_t *buffer = g_malloc(DIGEST_BLOCK);
	g_autofree struct digest *leaves = g_new(struct digest, count);
	struct index_tail disk = {
	        .magic = htole64(t->magic),
	        .version = htole32(t->version),
	        .image_size = htole64(t->image_size),
	        .extents = htole64(t->extents),
	        .digests = htole64(t->digests),
	        .leaves = htole64(t->leaves),
	        .size = htole64(t->size),
	        .extent_count = htole32(t->extent_count),
	        .digest_count = htole32(t->digest_count),
	        .files = htole64(t->files),
	        .bytes = htole64(t->bytes),
	        .objects = htole64(t->objects),
	        .frames = htole64(t->frames),
	        .object_count = htole32(t->object_count),
	        .frame_count = htole32(t->frame_count),
	};
	for (uint64_t n = 0; n < count; n++) {
		uint64_t at = n * DIGEST_BLOCK;
		if (!piece_digest(fd, at, MIN(DIGEST_BLOCK, t->leaves - at), buffer, &leaves[n],
		                  error))
			return false;
	}
	const struct digest_part parts[] = {{leaves, count * DIGEST_SIZE}, {&disk, sizeof(disk)}};
	digest_of_parts(parts, 2, root);
	return writer_put(fd, t->leaves, leaves, count * DIGEST_SIZE, error) &&
	       writer_put(fd, t->leaves + count * DIGEST_SIZE, &disk, sizeof(disk), error);
}

static bool index_make(struct publishing *p, struct head *head, GError **error)
{
	struct hash_options hashing = {
	        .threads = p->options->threads,
	        .reuse = p->reuse,
	        .checksum = p->options->checksum,
	        .tick = hashed,
	        .user = p,
	};
	int fd = output_begin(p->output, error);
	if (hashing.threads == 0)
		hashing.threads = (unsigned)MAX(g_get_num_processors(), 1);
	if (fd < 0 || !step(p, PUBLISH_LOOKING, error) ||
	    !walk_tree(p->plan, p->root, walked, p, error))
		return false;
	image_layout(p->plan, &p->tail);
	head->size = p->tail.size;
	if (p->plan->frames > 0 && (p->objects = objects_open(p->output, error)) == NULL)
		return false;
	if (p->tail.size > INDEX_SIZE_MAX) {
		g_set_error(error, LOCAL_ERROR, EFBIG, "the tree is too large for an index");
		return false;
	}
	/* holes of the file are the zeros between its parts */
	if (ftruncate(fd, (off_t)p->tail.size) < 0)
		return writer_fail(error, "writing the index");
	p->sealed = step(p, PUBLISH_WRITING, error) && image_write(p->plan, &p->tail, fd, error) &&
	            step(p, PUBLISH_HASHING, error) &&
	            hash_tree(p->plan, p->root, fd, &p->tail, p->objects, &hashing, &p->counts,
	                      error) &&
	            step(p, PUBLISH_SEALING, error) && leaves_write(p, fd, &head->root, error) &&
	            (p->objects == NULL || objects_sync(p->objects, error));
	return p->sealed;
}

static bool tree_open(struct publishing *p, GError **error)
{
	const char *directory = p->options->directory;
	p->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->root >= 0)
		return true;
	g_set_error(error, LOCAL_ERROR, errno, "%s: %s", directory, g_strerror(errno));
	return false;
}

/* Before anything else: a wrong key, or one whose password is asked for, must not cost an hour. */
static bool key_open(struct publishing *p, GError **error)
{
	const char *key = p->options->key;
	return key == NULL || (p->signer = signer_open(key, error)) != NULL;
}

static bool from_open(struct publishing *p, GError **error)
{
	const char *from = p->options->from;
	return from == NULL || (p->reuse = reuse_open(from, error)) != NULL;
}

static bool plan_make(struct publishing *p, GError **error)
{
	p->plan = plan_new(output_folder(p->output), error);
	if (p->plan != NULL)
		p->plan->packs = p->options->packs;
	return p->plan != NULL;
}

bool publish(const struct publish_options *options, struct publish_result *out, GError **error)
{
	struct publishing p = {.options = options, .root = -1};
	/* no file is read earlier: reuse.h */
	struct publish_result result = {
	        .head.serial = (uint64_t)MAX(g_get_real_time() / G_USEC_PER_SEC, 1)};
	const char *output = options->output != NULL ? options->output : options->directory;
	bool ok = (!options->packs || frame_demand(error)) && key_open(&p, error) &&
	          tree_open(&p, error) && from_open(&p, error) &&
	          (p.output = output_open(output, error)) != NULL && plan_make(&p, error) &&
	          index_make(&p, &result.head, error) &&
	          output_commit(p.output, &result.head, p.signer, &result.unchanged,
	                        &result.was_signed, error);
	if (ok) {
		result.files = p.plan->files;
		result.directories = p.plan->nids->len;
		result.bytes = p.plan->bytes;
		result.kept_files = p.counts.kept_files;
		result.odd_files = p.counts.odd_files;
		*out = result;
	}
	plan_free(p.plan);
	signer_free(p.signer);
	reuse_free(p.reuse);
	g_autofree char *index = p.sealed ? head_index_name(&result.head) : NULL;
	objects_close(p.objects, index);
	output_close(p.output);
	if (p.root >= 0)
		close(p.root);
	return ok;
}
