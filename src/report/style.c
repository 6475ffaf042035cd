/* Light and dark, wide and narrow, screen and paper. Charts are boxes placed in per cent,
 * so that their labels stay text of the page's size. */
#include "report/html.h"

/* clang-format off */
const char *const ICD_I_PAGE_STYLE[] = {
    ":root{color-scheme:light dark;--ink:#1d2430;--soft:#566072;--line:#d9dee7;"
    "--paper:#fff;"
    "--box:#f4f6fa;--grid:#e3e7ee;--linear:#5f6f8c;--iterative:#0b6bcb;--other:#b3610b;"
    "--control:#7a869b;--good:#0a7d3c;--bad:#b3261e}\n",
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#a3adbf;"
    "--line:#343b48;"
    "--paper:#14171d;--box:#1d222b;--grid:#2a303b;--linear:#a3b1cb;--iterative:#5aa9ff;"
    "--other:#e8a54b;--control:#7b879c;--good:#4fc07f;--bad:#ff8a80}}\n",
    "*{box-sizing:border-box}\n",
    "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:64rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere;"
    "print-color-adjust:exact;-webkit-print-color-adjust:exact}\n",
    "h1{font-size:1.6rem;margin:.5rem 0}h2{margin:2.2rem 0 .6rem;border-bottom:1px solid "
    "var(--line)}h3{margin:1.4rem 0 .4rem;font-size:1rem}a{color:var(--iterative)}\n",
    ".sub,.note,figcaption,caption,dt,small,.absent{color:var(--soft)}\n",
    ".badge{font-size:.9rem;padding:.15rem .7rem;border-radius:1rem;color:#fff;"
    "background:#566072;vertical-align:middle;white-space:nowrap}"
    ".badge.kept{background:#0a7d3c}.badge.rolled{background:#b3261e}\n",
    ".verdict{background:var(--box);border-left:5px solid var(--iterative);"
    "padding:.6rem 1rem}"
    ".verdict p{margin:.2rem 0}.verdict .first{font-size:1.15rem;font-weight:600}\n",
    ".cause{border-left:5px solid var(--bad);padding:.2rem 1rem}\n",
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));"
    "gap:.6rem;"
    "margin:1rem 0}.tiles div{background:var(--box);padding:.5rem .8rem;display:flex;"
    "flex-direction:column}.tiles dt{font-size:.8rem}.tiles dd{margin:0}"
    ".tiles .big{font-size:1.2rem;font-weight:600;font-variant-numeric:tabular-nums}"
    ".tiles small{line-height:1.35}\n",
    "nav a{margin-right:1rem;white-space:nowrap}\n",
    ".good{color:var(--good)}.bad{color:var(--bad)}.absent{font-style:italic}\n",
    ".scroll{overflow-x:auto;overflow-wrap:normal}table{border-collapse:collapse;"
    "font-size:.84rem;margin:.4rem 0}caption{text-align:left;padding:.3rem 0}"
    "td,th{padding:.22rem .45rem;border-bottom:1px solid var(--line);text-align:left;"
    "vertical-align:top;max-width:24rem;overflow-wrap:break-word}tbody th{"
    "font-weight:400}"
    "td.n,th.n{text-align:right}td.n{font-variant-numeric:tabular-nums;"
    "white-space:nowrap}\n",
    "summary{cursor:pointer;color:var(--iterative);margin:.6rem 0}\n",
    ".chart{margin:.6rem 0;font-size:.86rem}.row{display:grid;"
    "grid-template-columns:12rem 1fr 13.5rem;gap:0 1rem;align-items:center;"
    "min-height:1.6rem}"
    ".row>*{min-width:0}.name{text-align:right}.value{font-variant-numeric:tabular-nums}"
    ".track{position:relative;height:1.1rem;background:var(--box)}"
    ".track>*{position:absolute}.dense .row{min-height:1.12rem;font-size:.8rem}"
    ".dense .track{height:.9rem}.dense .row{grid-template-columns:12rem 1fr 7.5rem}\n",
    ".bar{top:0;bottom:0;left:0;background:var(--control)}.bar.baseline{"
    "background:var(--linear)}.bar.candidate{background:var(--iterative)}"
    ".bar.alternative{"
    "background:var(--other)}\n",
    ".ci{top:calc(50% - 2px);height:4px;background:var(--control)}.ci.good{"
    "background:var(--good)}.ci.bad{background:var(--bad)}.whisker{top:25%;bottom:25%;"
    "border:solid var(--ink);border-width:0 2px;background:linear-gradient(var(--ink),"
    "var(--ink)) center/100% 2px no-repeat}\n",
    ".dot{top:50%;width:.66rem;height:.66rem;margin:-.33rem 0 0 -.33rem;"
    "border-radius:50%;"
    "background:var(--control)}.dot.good{background:var(--good)}.dot.bad{"
    "background:var(--bad)}.band{top:0;bottom:0;background:var(--grid)}.zero,.tick{top:0;"
    "bottom:0;border-left:1px solid var(--grid)}.zero{border-color:var(--ink)}\n",
    ".axis .track{background:none;height:1.3rem;color:var(--soft)}.axis b{"
    "font-weight:400;"
    "transform:translateX(-50%);white-space:nowrap}\n",
    ".link{top:calc(50% - 1px);height:2px;background:var(--iterative);opacity:.45}"
    ".linear{background:var(--paper);border:2px solid var(--linear)}.iterative{"
    "background:var(--iterative)}.frequency{background:var(--other);border-radius:0;"
    "transform:rotate(45deg) scale(.8)}.random{width:3px;margin-left:-1px;"
    "border-radius:0;"
    "background:var(--control)}\n",
    ".legend span{display:inline-block;margin-right:1.4rem}.legend i{position:relative;"
    "display:inline-block;top:0;margin:0 .45rem 0 0}\n",
    ".pair{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;flex:1 1 16rem;"
    "max-width:29rem}svg{display:block;width:100%;height:auto;border:1px solid "
    "var(--line);"
    "background:var(--box);stroke:var(--iterative);stroke-width:1;fill:none}\n",
    ".badge.sim{background:#8a5a00}td .badge{font-size:.72rem;padding:0 .45rem}\n",
    ".tall{height:1.7rem}.row:has(.tall){min-height:2rem}svg.dist{position:absolute;"
    "inset:0;width:100%;height:100%;border:0;background:none;stroke:none;"
    "fill:var(--control)}svg.dist .baseline{fill:var(--linear)}svg.dist .candidate{"
    "fill:var(--iterative)}svg.dist .alternative{fill:var(--other)}\n",
    "figure.wide{max-width:none}svg.course{height:9rem}svg.course path,svg.over path{"
    "vector-effect:non-scaling-stroke;stroke-width:1.5}svg.course .baseline{"
    "stroke:var(--linear)}svg.course .candidate{stroke:var(--iterative)}"
    "i.key{width:1.4rem;height:0;border:0;border-top:3px solid var(--linear);"
    "vertical-align:middle}i.key.iterative{border-color:var(--iterative)}\n",
    ".plot{position:relative;height:17rem;max-width:40rem;margin:.6rem 0 1.6rem 3.2rem;"
    "background:var(--box);border-left:1px solid var(--soft);"
    "border-bottom:1px solid var(--soft);font-size:.76rem}.plot>*{position:absolute}"
    ".plot .dot{background:var(--control)}.plot .dot.linear{background:var(--paper)}"
    ".plot .dot.iterative{background:var(--iterative)}.plot .dot.frequency{"
    "background:var(--other)}.plot .dot.random{width:.5rem;height:.5rem;"
    "margin:-.25rem 0 0 -.25rem;border-radius:50%}.plot b{font-weight:400;"
    "white-space:nowrap;transform:translate(.55rem,-50%)}.plot b.left{"
    "transform:translate(calc(-100% - .55rem),-50%)}.plot b.x{top:100%;"
    "transform:translate(-50%,.15rem);color:var(--soft)}.plot b.y{left:0;"
    "transform:translate(calc(-100% - .4rem),-50%);color:var(--soft)}svg.over{inset:0;"
    "height:100%;border:0;background:none;stroke:var(--soft)}\n",
    "svg.tilemap{height:3.2rem;margin:0 0 .2rem}.maps figure{flex-basis:13rem}\n",
    ".facts{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;"
    "font-size:.9rem}.facts dd{margin:0}pre{background:var(--box);padding:.6rem;"
    "overflow-x:auto;white-space:pre-wrap}\n",
    "@media screen and (max-width:44rem){.tiles{grid-template-columns:repeat(auto-fit,"
    "minmax(10rem,"
    "1fr))}.tiles .big{font-size:1.1rem}.row{grid-template-columns:7rem 1fr;gap:0 .6rem;"
    "padding-bottom:.25rem}.row .value{grid-column:2}.axis{padding-bottom:0}"
    ".axis b:nth-child(even){display:none}.track{margin-right:.6rem}"
    ".short .row,.dense .row{grid-template-columns:6.2rem 1fr 5.2rem;padding:0}"
    ".short .value,.dense .value{grid-column:auto!important;white-space:nowrap}"
    ".dense .row{font-size:.7rem}.dense .track{margin-right:0}}\n",
    "@media print{html{font-size:10.5px}body{max-width:none;font-size:1rem}h2,h3,"
    "caption{break-after:avoid}"
    "figure,.row,tr,.tiles div{break-inside:avoid}table{font-size:.8rem}td,th{padding:"
    ".1rem .3rem}nav{display:none}.scroll{overflow:visible}summary{display:none}"
    "details::details-content{content-visibility:visible;display:block}}\n",
    NULL};
/* clang-format on */
