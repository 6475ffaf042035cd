# Flags that every target shares, and the two functions that make a target of a folder.
set(ICD_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla)
if(ICD_WERROR)
    list(APPEND ICD_WARNINGS -Werror)
endif()

add_library(icd_flags INTERFACE)
target_include_directories(icd_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(icd_flags INTERFACE _GNU_SOURCE)
# -ffp-contract=off: the same rounding in every build, so that the same input gives the same bytes.
target_compile_options(icd_flags INTERFACE ${ICD_WARNINGS} -ffp-contract=off
    -fvisibility=default $<$<CONFIG:Debug>:-DICD_DEBUG_CHECKS=1>)
if(ICD_SANITIZE)
    target_compile_options(icd_flags INTERFACE -fsanitize=${ICD_SANITIZE}
        -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(icd_flags INTERFACE -fsanitize=${ICD_SANITIZE})
endif()

# The counters that guide libFuzzer (fuzz/README.md); clang only.
option(ICD_FUZZER "Instrument the library for libFuzzer" OFF)
if(ICD_FUZZER)
    target_compile_options(icd_flags INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(icd_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# icd_layer(base DEPENDS ... LIBS ...): one static library per folder of src/. A folder sees only the
# folders named in DEPENDS, so a forbidden include fails to link as well as in tools/check_layers.py.
function(icd_layer name)
    cmake_parse_arguments(arg "" "" "DEPENDS;LIBS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.c
         ${CMAKE_SOURCE_DIR}/src/${name}/*/*.c)
    if(NOT sources)
        return()
    endif()
    add_library(icd_${name} STATIC ${sources})
    target_link_libraries(icd_${name} PUBLIC icd_flags)
    foreach(dep IN LISTS arg_DEPENDS)
        if(TARGET icd_${dep})
            target_link_libraries(icd_${name} PUBLIC icd_${dep})
        endif()
    endforeach()
    target_link_libraries(icd_${name} PUBLIC ${arg_LIBS})
    set_property(GLOBAL APPEND PROPERTY ICD_LAYERS icd_${name})
endfunction()
