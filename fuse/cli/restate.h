/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The arguments of a mount, for the program that takes it over (fuse/keeper/upgrade.h). */
#pragma once
#include "fuse/base/settings.h"

/* settings.words, from the arguments of each -o and from what they and the others have become:
 * paths are absolute. Caller frees. */
GString *restate(char **options, const struct settings *s);
