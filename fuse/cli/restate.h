/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The arguments of a mount, for the program that takes it over (fuse/keeper/upgrade.h).
 * Shape:  the keys of -o verify_key as text (keyring_text(); "" = none), the canonical names of the
 *         source and of each mirror, "", and the arguments, of which the last is the mount point
 * Files:  whoever parses them reads none, and resolves no path: in a keeper's place, a failure
 *         would end the mount. (A time zone is still looked up.) */
#pragma once
#include "fuse/base/settings.h"

/* settings.words, from the arguments of each -o and from what they and the others have become:
 * paths are absolute. Caller frees. */
GString *restate(char **options, const struct settings *s);
