/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Short names of the seals, for the tests of them. */
#pragma once
#include "fuse/base/seal.h"

#define SEAL LACUNA_SEAL_SEAL
#define SHRINK LACUNA_SEAL_SHRINK
#define GROW LACUNA_SEAL_GROW
#define WRITE LACUNA_SEAL_WRITE
#define FUTURE LACUNA_SEAL_FUTURE_WRITE
#define EXEC LACUNA_SEAL_EXEC
