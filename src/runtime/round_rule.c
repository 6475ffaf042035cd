#include "runtime/round_rule.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"

static void say(char out[256], const char *fmt, ...) ICD_PRINTF(2, 3);
static void say(char out[256], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out, 256, fmt, args);
    va_end(args);
}

static bool includes_zero(const icd_round_facts *f)
{
    return !(f->low > 0) && !(f->high < 0);
}

/* Why a measured round ends the iteration; false: it does not. */
static bool gain_ends(const icd_round_facts *f, char out[256])
{
    if (!f->measured) return false;
    if (!f->trusted)
        say(out, "the A/A control is outside +-1 %%: the gain cannot be told");
    else if (includes_zero(f))
        say(out, "the 95 %% CI of the gain, %+.2f to %+.2f %%, includes zero",
            100 * f->low, 100 * f->high);
    else
        return false;
    return true;
}

static void end_of_first(const icd_round_facts *f, icd_round_end *e)
{
    e->keep =
        !f->failed && (!f->measured || !f->moved || (f->trusted && f->beats_linear));
    if (f->failed)
        say(e->stop, "round 1 failed: %.200s", f->failed);
    else if (f->most <= 1)
        say(e->stop, "pipeline.iterations is 1");
    else if (f->moved && gain_ends(f, e->stop))
        return;
    else if (!e->keep)
        say(e->stop, "pi1 of round 1 is not better than pi0");
    else if (!f->redoable)
        say(e->stop, "no transform depends on the layout: there is nothing to redo");
}

/* Whether a later round is kept, and why. */
static bool keeps(const icd_round_facts *f, char why[256])
{
    if (f->failed)
        say(why, "it failed: %.200s", f->failed);
    else if (!f->redone)
        say(why, "redoing lowered no loss, so the transforms and the layout stayed");
    else if (!f->measured)
        say(why, "its loss is less; nothing was timed");
    else if (!f->trusted)
        say(why, "the A/A control is outside +-1 %%");
    else if (f->worse)
        say(why, "%.60s is worse than in round %d", f->worse, (int)f->number - 1);
    else if (!f->beats_linear)
        say(why, "on its model pi1 is not better than pi0");
    else if (f->better)
        say(why, "%.60s is better than in round %d, and its loss is less", f->better,
            (int)f->number - 1);
    else
        say(why, "its loss is less and no metric is worse than in round %d",
            (int)f->number - 1);
    return !f->failed && f->redone &&
           (!f->measured || (f->trusted && !f->worse && f->beats_linear));
}

static void end_of_later(const icd_round_facts *f, icd_round_end *e)
{
    e->keep = keeps(f, e->why);
    if (!e->keep)
        say(e->stop, "round %d was not kept: %.200s", (int)f->number, e->why);
    else if (gain_ends(f, e->stop))
        return;
    else if (!f->moved)
        say(e->stop, "the layout did not change");
}

void icd_i_round_rule(const icd_round_facts *f, icd_round_end *e)
{
    *e = (icd_round_end){0};
    if (f->number <= 1)
        end_of_first(f, e);
    else
        end_of_later(f, e);
    if (!e->stop[0] && f->number >= f->most)
        say(e->stop, "pipeline.iterations, %d, is reached", (int)f->most);
    e->go_on = e->stop[0] == 0;
}
